"""Champions on disk that nothing has merged: whole, sound, and let in by a gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.files import sha256_of, write_bytes, write_json
from orchestrator.store.champion import EVALUATION, GATE, champion_before, up_to_date

FILES = ("config.json", "model.safetensors", "tokenizer.json")


def write_champion(place: Path, run: str, night: str = "", standing: str | None = None, **more: Any) -> Path:
    """Write a champion of ``run`` into ``place``; on ``night`` it was let in and replaced ``standing``."""
    for name in FILES:
        write_bytes(place / name, f"{name} of {run}".encode() * 50)
    files = {name: sha256_of(place / name) for name in FILES}
    gate = {GATE: {"night": night, "run_key": run, "standing": standing, "decision": "moved"}} if night else {}
    evaluation = {"run_key": run, "status": "sound", "method": "lora", "lr": 1e-3, "seed": 0, "base_accuracy": 0.3}
    write_json(place / EVALUATION, evaluation | {"files": files} | gate | more)
    return place


def stands(place: Path, run: str) -> bool:
    """Return whether the champion of ``run`` is whole in ``place``."""
    return up_to_date(place, run) is not None


def before(place: Path) -> str | None:
    """Return the run of the whole champion that can be gone back to."""
    other = champion_before(place)
    return None if other is None else next((run for run in "ABCDE" if stands(other, run)), None)


def names(place: Path) -> set[str]:
    """Return the names beside a champion, drafts left out."""
    return {each.name for each in place.parent.iterdir() if not each.name.startswith(".")}
