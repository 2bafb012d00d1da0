"""Remarks on a base from its files alone, for example that it is stored in another type than it is trained in."""

from __future__ import annotations

from orchestrator.base.files import read_config
from orchestrator.base.source import StoredBase
from orchestrator.errors import InputError
from orchestrator.files import read_json
from orchestrator.model.loading import has_architecture

CODE = "auto_map"
"""The key by which a config names code of its own."""
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def remarks_on_files(base: StoredBase, dtype: str) -> list[str]:
    """Return one line for each fact to know before the base is trained in ``dtype``.

    InputError for a base that needs code of its own, or whose weights are quantised.
    """
    remarks = []
    config = read_config(base.path)
    others = {name: read_json(base.path / name) for name in ("tokenizer_config.json", "processor_config.json")}
    contents = {"config.json": config} | others
    with_code = [name for name, content in contents.items() if isinstance(content, dict) and CODE in content]
    kind = config.get("model_type")
    if with_code and not has_architecture(kind):
        raise InputError(
            f"{base.path} needs code of its own ({', '.join(with_code)} has {CODE}), because transformers has no "
            f"model_type {kind!r}. Nothing that was downloaded is run: take a base whose model_type transformers has, "
            "such as llama."
        )
    if with_code:
        files = ", ".join(with_code)
        remarks.append(f"the base brings code ({files} has {CODE}), which is not run: transformers has its own {kind}")
    stored = DTYPES.get(base.stored)
    if stored is None:
        raise InputError(
            f"{base.path} holds weights in {base.stored}, which are quantised: adapters are trained over weights in "
            "float32 or bfloat16. Take the model that was quantised."
        )
    if stored != dtype:
        remarks.append(f"the base is stored in {stored}, it is trained in {dtype}, and champions are {dtype}")
    return remarks
