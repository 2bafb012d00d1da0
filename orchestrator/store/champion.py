"""A merged champion on disk: its evaluation, and whether its files are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.files import read_json, sha256_of

EVALUATION = "evaluation.json"


def up_to_date(place: Path, run_key: str) -> dict[str, Any] | None:
    """Return the evaluation in ``place`` if the champion there is sound, whole, and made of this run; else None."""
    evaluation = read_json(place / EVALUATION)
    if not isinstance(evaluation, dict) or evaluation.get("run_key") != run_key or evaluation.get("status") != "sound":
        return None
    files = evaluation.get("files", {})
    whole = all((place / name).is_file() and sha256_of(place / name) == digest for name, digest in files.items())
    return evaluation if files and whole else None
