"""Load a base model with transformers, whole or not at all, and save merged models.

Only this file, `block_attention` and `orchestrator.tiny` import transformers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import nn

from orchestrator.errors import InputError

if not torch.cuda.is_available():  # transformers imports DeepSpeed, which would search for accelerators and warn
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
GENERATION = "generation_config.json"
SHARD = "2GB"
"""The largest file of a saved model; small, because a file is in host memory twice while it is written."""


def quiet() -> None:
    """Switch off transformers' progress bars, because a sweep shows its own."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def has_architecture(model_type: Any) -> bool:
    """Return whether transformers itself has a causal language model of this ``model_type``."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def load_tokenizer(path: Path) -> Any:
    """Return the tokenizer of the model at ``path``; code in the model's repository is not run.

    InputError if there is no tokenizer that transformers can read.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # the tokenizer's own code can raise anything on files that it cannot use
        raise InputError(
            f"{path} has no tokenizer that can be read: {type(error).__name__}: {shorten(str(error), 200)}. Put the "
            "tokenizer's files, tokenizer.json and tokenizer_config.json, beside the weights."
        ) from error


def sketch(path: Path) -> nn.Module:
    """Return the model that the config.json at ``path`` describes, on the meta device: without weights.

    InputError if the config does not describe a causal language model.
    """
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(_config(path), trust_remote_code=False)
    except Exception as error:  # the architecture's own code can raise anything on values that it cannot use
        raise InputError(
            f"{path} holds no causal language model that can be built from its config.json: {type(error).__name__}: "
            f"{shorten(str(error), 300)}. Correct that file, or take another base."
        ) from error
    assert isinstance(model, nn.Module)  # noqa: S101 - for the type checker: the door has no types
    return model


def _config(path: Path) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(path, trust_remote_code=False)


def load_model(path: Path, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return the causal language model at ``path``, on the CPU, with weights of type ``dtype``.

    InputError if the model and the weights on disk differ in names or shapes, because transformers would draw missing
    weights at random.
    """
    from transformers import AutoModelForCausalLM

    quiet()
    with _silent():
        model, loading = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # so that our error can name the weights of another size
            output_loading_info=True,
        )
    problems = _differences(loading)
    if problems:
        raise InputError(
            f"{path}: the weights are not those of {type(model).__name__}, which its config.json describes: "
            f"{'; '.join(problems)}. Take the config.json that belongs to these weights, or save them again from the "
            "class that has them: model.save_pretrained(DIR)."
        )
    assert isinstance(model, nn.Module)  # noqa: S101 - for the type checker: the door has no types
    return model


def generation_fault(path: Path) -> str:
    """Return why transformers refuses the generation_config.json at ``path``; "" if the file is accepted or missing."""
    from transformers import GenerationConfig

    if not (path / GENERATION).exists():
        return ""
    try:
        GenerationConfig.from_pretrained(path, local_files_only=True)
    except Exception as error:  # transformers can raise anything on values that it cannot use
        return f"{type(error).__name__}: {shorten(str(error), 300)}"
    return ""


def _differences(loading: Mapping[str, Any]) -> list[str]:
    """Return in words how weights and model differ.

    ``loading`` is transformers' report, which leaves out tied weights and weights that the architecture does not need.
    """
    sizes = [f"{name} {tuple(there)} for {tuple(wanted)}" for name, there, wanted in loading["mismatched_keys"]]
    kinds = {"missing": loading["missing_keys"], "of another shape": sizes, "unknown": loading["unexpected_keys"]}
    return [
        f"{len(names)} {kind}: {', '.join(sorted(names)[:3])}{', ...' if len(names) > 3 else ''}"
        for kind, names in kinds.items()
        if names
    ]


@contextmanager
def _silent() -> Iterator[None]:
    """Within: transformers does not print its table of missing weights, because our error names them."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def shorten_model(model: nn.Module, layers: int) -> float:
    """Remove all blocks but the first ``layers``, in place; return the number of blocks before, divided by ``layers``.

    A model whose blocks are not in ``base_model.layers`` stays as it is, and 1 is returned.
    """
    decoder: Any = model.base_model
    blocks = getattr(decoder, "layers", None)
    if not isinstance(blocks, nn.ModuleList) or len(blocks) <= layers:
        return 1.0
    decoder.layers = blocks[:layers]
    return len(blocks) / layers


@contextmanager
def first_layers(model: nn.Module, layers: int) -> Iterator[None]:
    """Within: the model has only its first ``layers`` blocks; all of them if ``base_model`` has no ``layers``."""
    decoder: Any = model.base_model
    blocks = getattr(decoder, "layers", None)
    shorten_model(model, layers)
    try:
        yield
    finally:
        if blocks is not None:
            decoder.layers = blocks


def hidden_size(model: nn.Module) -> int:
    """Return the length of a token's vector."""
    config: Any = model.config
    return int(config.get_text_config().hidden_size)


def save_model(model: nn.Module, base: Path, place: Path) -> None:
    """Write ``model`` and the base's tokenizer as a plain Hugging Face directory."""
    quiet()
    model.save_pretrained(place, max_shard_size=SHARD)  # type: ignore[operator]
    load_tokenizer(base).save_pretrained(place)


def enable_checkpointing(model: nn.Module) -> None:
    """Keep only each block's input in forward, and compute the block's activations again in backward.

    Checkpointing takes less memory and about a third more time.
    """
    model.activation_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
