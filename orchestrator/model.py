"""The one door to transformers, with `attention`: find a base model, load it and save what was made of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import nn

from d2lora import match_targets
from orchestrator.errors import InputError
from orchestrator.files import read_json, write_json
from orchestrator.spec import ModelSpec, targets_of

if not torch.cuda.is_available():  # transformers loads DeepSpeed, which would look for accelerators and say so
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
WEIGHT_PATTERNS = ("*.safetensors",)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SHARD = "2GB"  # of a saved model: a file is in host memory twice while it is written
Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Base:
    """A base model on disk; ``fingerprint`` is the sha256 over its config and weights."""

    path: Path
    fingerprint: str


def resolve_base(spec: ModelSpec, cache_dir: Path, progress: Progress | None = None) -> Base:
    """Return the base that the recipe means, made (tiny) or fetched (hub) if need be; InputError if it is unusable."""
    if spec.path is not None:
        path = Path(spec.path).expanduser().resolve()
        if not path.is_dir():
            raise InputError(f"model.path={spec.path} is not a directory with a model.")
    elif spec.name == "tiny":
        from orchestrator.tiny import ensure_tiny_base

        path = ensure_tiny_base(cache_dir, progress)
    else:
        path = _from_hub(spec.name, cache_dir)
    weights = sorted(file for pattern in WEIGHT_PATTERNS for file in path.glob(pattern))
    if not (path / "config.json").is_file() or not weights:
        there = ", ".join(sorted(file.name for file in path.iterdir())[:8]) or "nothing"
        raise InputError(f"{path} holds no model: config.json and *.safetensors are needed, there is {there}.")
    _refuse_code(path)
    return Base(path, _fingerprint([path / "config.json", *weights], cache_dir))


def _from_hub(name: str, cache_dir: Path) -> Path:
    """Fetch a model into the sweep's own cache, which lies on storage that every node sees."""
    from huggingface_hub import snapshot_download

    try:
        kept = ["*.json", "*.safetensors", "tokenizer*", "*.txt"]
        return Path(snapshot_download(name, cache_dir=cache_dir / "hub", allow_patterns=kept))
    except Exception as error:
        raise InputError(
            f"Cannot fetch model {name!r} from the hub: {type(error).__name__}: {str(error).splitlines()[0]} "
            "Without a network use a local directory: model.path=DIR."
        ) from error


def _refuse_code(path: Path) -> None:
    """Refuse a model that brings code of its own: nothing that was downloaded is executed."""
    named = [file.name for file in path.glob("*.json") if "auto_map" in (read_json(file) or {})]
    if named:
        raise InputError(
            f"{path} wants to run code of its own ({', '.join(named)} has auto_map). Only architectures that "
            "transformers has are supported; convert the model, or remove auto_map if it is one of those."
        )


def _fingerprint(files: list[Path], cache_dir: Path) -> str:
    """Return the sha256 over the files; remembered by name, size and time of change, for weights are large."""
    stats = [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    memory = cache_dir / "fingerprints" / f"{hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:32]}.json"
    known = read_json(memory)
    if isinstance(known, dict) and known.get("files") == stats:
        return str(known["sha256"])
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    write_json(memory, {"files": stats, "sha256": digest.hexdigest()})
    return digest.hexdigest()


def quiet() -> None:
    """Switch off transformers' own progress bars: a sweep has one of its own."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def load_tokenizer(path: Path) -> Any:
    """Return the model's tokenizer."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} has no tokenizer that can be read: {str(error).splitlines()[0]}") from error


def check_targets(path: Path, targets: str) -> dict[str, tuple[int, int]]:
    """Return the targets' layers with their (out, in) features, from the config alone.

    InputError if the config is not that of a causal language model, or none match.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path))
    except Exception as error:  # whatever the architecture's own code raises on values that it cannot use
        raise InputError(
            f"{path} holds no causal language model that can be built from its config.json: {type(error).__name__}: "
            f"{shorten(str(error), 300)}"
        ) from error
    try:
        names = match_targets(model, targets_of(targets))
    except ValueError as error:
        raise InputError(f"targets={targets!r}: {error}") from None
    head = [name for name in names if model.get_submodule(name) is model.get_output_embeddings()]
    if head:
        raise InputError(
            f"targets={targets!r} names the head, {head[0]}: it gets tokens of answers alone, not the rows of "
            "lanes, and cannot be adapted. Name the layers instead, for example attention+mlp."
        )
    layers = ((name, model.get_submodule(name)) for name in names)
    return {name: (layer.out_features, layer.in_features) for name, layer in layers}


def load_model(path: Path, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return the causal language model at ``path``, on the CPU."""
    from transformers import AutoModelForCausalLM

    quiet()
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, local_files_only=True)
    assert isinstance(model, nn.Module)  # noqa: S101 - for the type checker: the door has no types
    return model


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
