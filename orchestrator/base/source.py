"""Resolve a recipe's model to a base on disk: a directory, a download or the tiny base; with its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.base.files import StoredWeights, check_json, read_config, stored_weights
from orchestrator.errors import InputError
from orchestrator.files import read_json, write_json
from orchestrator.paths import readable
from orchestrator.recipe.sections import ModelSpec

Progress = Callable[[int, int, float], None]
FETCHED = ("*.json", "*.safetensors", "*.jinja", "*.txt", "tokenizer*")
"""The files that are fetched from the Hugging Face hub: config, weights, chat template and tokenizer; no code."""


@dataclass(frozen=True)
class StoredBase:
    """A base on disk.

    ``fingerprint`` is the sha256 over its config.json and the files of weights that are loaded. ``stored`` is the type
    of most of its numbers, as safetensors names it. ``commit`` is the commit of the hub's repository; None for a base
    that is not of the hub.
    """

    path: Path
    fingerprint: str
    stored: str = "F32"
    commit: str | None = None


def resolve_base(spec: ModelSpec, cache_dir: Path, progress: Progress | None = None) -> StoredBase:
    """Return the base that the recipe names; make the tiny base, or fetch a base, if it is not on disk yet.

    ``progress(step, steps, loss)`` is called while the tiny base is made. InputError if the base cannot be fetched, is
    not whole, or would load with other weights than its files hold.
    """
    if spec.path is not None:
        path = readable(spec.path).resolve()
        if not path.is_dir():
            raise InputError(f"model.path={spec.path} is not a directory with a model.")
    elif spec.name == "tiny":
        from orchestrator.tiny import ensure_tiny_base

        path = ensure_tiny_base(cache_dir, progress)
    else:
        path = _from_hub(spec.name, spec.revision, cache_dir)
    _refuse_changed_weights(path)
    check_json(path)
    stored = stored_weights(path)
    commit = path.name if spec.path is None and spec.name != "tiny" else None  # the hub's cache: snapshots/<commit>
    return StoredBase(path, _fingerprint(path, stored, cache_dir), stored.dtype, commit)


def _from_hub(name: str, revision: str | None, cache_dir: Path) -> Path:
    """Fetch a model into the sweep's own cache, which is on storage that every node can read."""
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(name, revision=revision, cache_dir=cache_dir / "hub", allow_patterns=list(FETCHED))
    except Exception as error:
        at = "" if revision is None else f" at model.revision={revision}"
        raise InputError(
            f"Cannot fetch model {name!r}{at} from the hub: {type(error).__name__}: {str(error).splitlines()[0]} "
            "Without a network use a local directory: model.path=DIR."
        ) from error
    return Path(folder)


def _refuse_changed_weights(path: Path) -> None:
    """Refuse a base that loads with other weights than its files hold: quantised, with an adapter, or renamed."""
    config = read_config(path)
    texts = (config, *(part for part in config.values() if isinstance(part, dict)))
    methods = (text.get("quantization_config") for text in texts)
    method = next((method for method in methods if method is not None), None)
    if method is not None:
        kind = method.get("quant_method") if isinstance(method, dict) else method
        raise InputError(
            f"{path / 'config.json'} has a quantization_config ({kind}): adapters are trained over weights in float32 "
            "or bfloat16. Take the model that was quantised: its name is the same without the method."
        )
    if (path / "adapter_config.json").exists():
        raise InputError(
            f"{path} holds an adapter (adapter_config.json), which would be loaded on top of the weights. Merge it "
            "into them first, or move the adapter's files out of the directory."
        )
    if config.get("transformers_weights"):
        raise InputError(
            f"{path / 'config.json'} has transformers_weights={config['transformers_weights']!r}, another file than "
            "model.safetensors. Remove the key, and give the file that is meant the usual name."
        )


def _fingerprint(path: Path, stored: StoredWeights, cache_dir: Path) -> str:
    """Return the sha256 over config and weights, from the cache if no file has changed since the cached sha256.

    Weights are large, so they are not read again: a file counts as unchanged if path, size, mtime, ctime and inode are
    the same. A copy that keeps size and mtime (cp -p, layers of an image) has another inode or another ctime.
    """
    files = [path / "config.json", *sorted(stored.files)]
    stats = [_stat(file) for file in files]
    entry = cache_dir / "fingerprints" / f"{hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:32]}.json"
    known = read_json(entry)
    if isinstance(known, dict) and known.get("files") == stats and isinstance(known.get("sha256"), str):
        return str(known["sha256"])
    digest = _sha256(files)
    write_json(entry, {"files": stats, "sha256": digest})
    return digest


def _stat(file: Path) -> list[str | int]:
    stat = file.stat()
    return [str(file.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _sha256(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
