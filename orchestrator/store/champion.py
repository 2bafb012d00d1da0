"""A merged champion on disk: its evaluation, whether its files are whole, and which directories lie beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator import objects
from orchestrator.files import read_json, sha256_of

EVALUATION = "evaluation.json"
GATE = "gate"
"""The field of an evaluation with the decision of the gate that let the champion in (`verdict.gate.Decision`)."""
NEXT, BEFORE, SWAP, BROKEN = ".next-", ".before-", ".swap", ".broken"
"""What follows the task in the name of a directory beside its champion; the name of a task has no dot.

``<task>.next-<night>`` is merged and takes the champion's place at once; ``<task>.before-<night>`` stood before the
champion; ``<task>.swap`` is one of two that are changing places; ``<task>.broken`` is the evaluation of a champion
that was merged, is broken and was not let in.
"""


def up_to_date(place: Path, run_key: str) -> dict[str, Any] | None:
    """Return the evaluation in ``place`` if the champion there is sound, whole, and made of this run; else None."""
    evaluation = evaluation_in(place)
    if evaluation.get("run_key") != run_key or evaluation.get("status") != "sound":
        return None
    files = evaluation.get("files", {})
    whole = all((place / name).is_file() and sha256_of(place / name) == digest for name, digest in files.items())
    return evaluation if files and whole else None


def fetch_champion(place: Path) -> None:
    """Copy a champion from the object store, if there is one; near files of another champion are replaced.

    Champions of one base have files of equal size, so digests decide, which the evaluation has. A directory without an
    evaluation is fetched as any other.
    """
    objects.fetch(place)
    for name, digest in evaluation_in(place).get("files", {}).items():
        if not (place / name).is_file() or sha256_of(place / name) != digest:
            objects.fetch_file(place / name)


def evaluation_in(place: Path) -> dict[str, Any]:
    """Return the evaluation in a champion's directory; {} if there is none that can be read."""
    evaluation = read_json(place / EVALUATION)
    return evaluation if isinstance(evaluation, dict) else {}


def run_key_in(place: Path) -> str | None:
    """Return the key of the run of which the champion in ``place`` is made; None if nothing there says so."""
    key = evaluation_in(place).get("run_key")
    return key if isinstance(key, str) else None


def replaced_by(place: Path) -> str | None:
    """Return the key of the run whose champion the champion in ``place`` has replaced, or is to replace; or None."""
    gate = evaluation_in(place).get(GATE)
    key = gate.get("standing") if isinstance(gate, dict) else None
    return key if isinstance(key, str) else None


def beside(place: Path, mark: str) -> list[Path]:
    """Return the directories beside a champion whose name has ``mark`` behind the task, for example `BEFORE`."""
    return sorted(other for other in place.parent.glob(f"{place.name}{mark}*") if other.is_dir())


def champion_before(place: Path) -> Path | None:
    """Return the directory of the champion that stood before the champion in ``place``; None if there is none."""
    key = replaced_by(place)
    return next((other for other in beside(place, BEFORE) if key is not None and run_key_in(other) == key), None)
