"""What one should know of a base from its files alone: its code is not run, its weights change their type."""

from __future__ import annotations

from orchestrator.base.files import read_config
from orchestrator.base.source import StoredBase
from orchestrator.errors import InputError
from orchestrator.files import read_json
from orchestrator.model.loading import has_architecture

CODE = "auto_map"
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def told_of_files(base: StoredBase, dtype: str) -> list[str]:
    """Return a line for each thing to know before it is trained in ``dtype``; InputError for a base that needs code."""
    told = []
    config = read_config(base.path)
    others = {name: read_json(base.path / name) for name in ("tokenizer_config.json", "processor_config.json")}
    bringing = [
        name for name, one in ({"config.json": config} | others).items() if isinstance(one, dict) and CODE in one
    ]
    kind = config.get("model_type")
    if bringing and not has_architecture(kind):
        raise InputError(
            f"{base.path} needs code of its own ({', '.join(bringing)} has {CODE}), for transformers has no model_type "
            f"{kind!r}. Nothing that was downloaded is run: take a base whose model_type transformers has, as llama."
        )
    if bringing:
        told.append(f"the base brings code ({', '.join(bringing)} has {CODE}); transformers has {kind}, its own is run")
    stored = DTYPES.get(base.stored)
    if stored is None:
        raise InputError(
            f"{base.path} holds weights in {base.stored}, which are quantised: adapters are trained over weights in "
            "float32 or bfloat16. Take the model that was quantised."
        )
    if stored != dtype:
        told.append(f"the base is stored in {stored}, it is trained in {dtype}, and champions are {dtype}")
    return told
