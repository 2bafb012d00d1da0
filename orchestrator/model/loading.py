"""The one door to transformers, with `attention`: load a base model, whole or not at all, and save what was made."""

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

if not torch.cuda.is_available():  # transformers loads DeepSpeed, which would look for accelerators and say so
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
GENERATION = "generation_config.json"
SHARD = "2GB"  # of a saved model: a file is in host memory twice while it is written


def quiet() -> None:
    """Switch off transformers' own progress bars: a sweep has one of its own."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def has_architecture(model_type: Any) -> bool:
    """Return whether transformers itself has this kind of causal language model."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def load_tokenizer(path: Path) -> Any:
    """Return the model's tokenizer; code that its repository brings is not run."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # whatever the tokenizer's own code raises on files that it cannot use
        raise InputError(
            f"{path} has no tokenizer that can be read: {type(error).__name__}: {shorten(str(error), 200)}. Put the "
            "tokenizer's files, tokenizer.json and tokenizer_config.json, beside the weights."
        ) from error


def sketch(path: Path) -> nn.Module:
    """Return the model that the config.json at ``path`` describes, without weights.

    InputError if the config is not that of a causal language model.
    """
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(_config(path), trust_remote_code=False)
    except Exception as error:  # whatever the architecture's own code raises on values that it cannot use
        raise InputError(
            f"{path} holds no causal language model that can be built from its config.json: {type(error).__name__}: "
            f"{shorten(str(error), 300)}"
        ) from error
    assert isinstance(model, nn.Module)  # noqa: S101 - for the type checker: the door has no types
    return model


def _config(path: Path) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(path, trust_remote_code=False)


def load_model(path: Path, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return the causal language model at ``path``, on the CPU.

    InputError if its names and shapes are not those of the weights: what is missing would be drawn at random.
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
            ignore_mismatched_sizes=True,  # to name them
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
    """Return why transformers refuses the generation_config.json at ``path``; "" if it takes it, or there is none."""
    from transformers import GenerationConfig

    if not (path / GENERATION).exists():
        return ""
    try:
        GenerationConfig.from_pretrained(path, local_files_only=True)
    except Exception as error:  # whatever it raises on values that it cannot use
        return f"{type(error).__name__}: {shorten(str(error), 300)}"
    return ""


def _differences(loading: Mapping[str, Any]) -> list[str]:
    """Return in words how weights and model differ; transformers has left out what is tied or known to be needless."""
    sizes = [f"{name} {tuple(there)} for {tuple(wanted)}" for name, there, wanted in loading["mismatched_keys"]]
    kinds = {"missing": loading["missing_keys"], "of another shape": sizes, "unknown": loading["unexpected_keys"]}
    return [
        f"{len(names)} {kind}: {', '.join(sorted(names)[:3])}{', ...' if len(names) > 3 else ''}"
        for kind, names in kinds.items()
        if names
    ]


@contextmanager
def _silent() -> Iterator[None]:
    """Within: transformers prints no table of what it misses; our error says it."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def shorten_model(model: nn.Module, layers: int) -> float:
    """Leave out all blocks but the first ``layers``, in place; return how many times more there were.

    A model whose blocks are not in ``base_model.layers`` stays as it is: 1.
    """
    decoder: Any = model.base_model
    blocks = getattr(decoder, "layers", None)
    if not isinstance(blocks, nn.ModuleList) or len(blocks) <= layers:
        return 1.0
    decoder.layers = blocks[:layers]
    return len(blocks) / layers


@contextmanager
def first_layers(model: nn.Module, layers: int) -> Iterator[None]:
    """Within: the model has only its first ``layers`` blocks, if its blocks are in ``base_model.layers``."""
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
    """Keep only each block's input for backward and compute the rest again: less memory, about a third more time."""
    model.activation_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
