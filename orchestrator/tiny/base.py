"""The tiny base on disk: made once, in a folder named by a hash of its settings and its text.

Other models are loaded by `orchestrator.model.loading`. This package makes a model, so it imports transformers too.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from orchestrator.files import read_json, sha256_of, sync_folder, write_json
from orchestrator.tiny.corpus import documents, words
from orchestrator.tiny.pretrain import Progress, TinySettings, pretrain
from orchestrator.tiny.saved import Saved
from orchestrator.tiny.tokenizer import build_tokenizer

VERSION = 1
"""Raise it when the code of pre-training makes another base. Settings and text are part of the hash anyway."""
MANIFEST = "manifest.json"


def ensure_tiny_base(cache_dir: Path, progress: Progress | None = None, settings: TinySettings | None = None) -> Path:
    """Return the base's Hugging Face directory below ``cache_dir``, after pre-training if it is not there yet.

    A base is complete if every file has the sha256 in the manifest, which is written last. Two processes may make the
    same base at once: each works in a folder of its own, the first to finish renames its folder, and the other uses
    the renamed folder. A process that is killed leaves its state in a file, from which the next process goes on.
    ``progress(step, steps, loss)`` is called while the base is made.
    """
    settings = settings or TinySettings()
    place = cache_dir / f"tiny-{content_hash(settings)}"
    saved = cache_dir / f"{place.name}.saved"
    if is_complete(place):
        saved.unlink(missing_ok=True)  # of a process that was killed while another made the base
        return place
    cache_dir.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer()
    model = pretrain(tokenizer, settings, progress, Saved(saved))
    made = Path(tempfile.mkdtemp(dir=cache_dir, prefix=".tiny-"))
    try:
        _write(made, model, tokenizer, settings)
        _publish(made, place)
        saved.unlink(missing_ok=True)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return place


def content_hash(settings: TinySettings) -> str:
    """Return a hash of everything that the base depends on: version, settings, words and the first documents."""
    sample = list(islice(documents(settings.seed), 2000))
    content = json.dumps([VERSION, asdict(settings), words(), sample], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def is_complete(place: Path) -> bool:
    """Return whether ``place`` holds a base whose files all have the sha256 of the manifest."""
    manifest = read_json(place / MANIFEST)
    if not isinstance(manifest, dict) or not manifest.get("files"):
        return False
    files: dict[str, str] = manifest["files"]
    return all((place / name).is_file() and sha256_of(place / name) == digest for name, digest in files.items())


def _write(folder: Path, model: Any, tokenizer: Any, settings: TinySettings) -> None:
    """Write model, tokenizer and manifest into ``folder``."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    folder.chmod(0o755)
    files = {file.name: sha256_of(file) for file in sorted(folder.iterdir())}
    write_json(folder / MANIFEST, {"version": VERSION, "settings": asdict(settings), "files": files})


def _publish(made: Path, place: Path) -> None:
    """Rename the finished folder to ``place``, unless a complete base is there; a damaged base is replaced."""
    if place.exists() and not is_complete(place):
        shutil.rmtree(place, ignore_errors=True)
    try:
        made.rename(place)
    except OSError:
        if not is_complete(place):
            raise
    sync_folder(place.parent)
