"""Pure: the fields that MLflow shows of a night: tags, metrics by cell, and the step of a night on the charts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from orchestrator.tracking.mlflow.fields import LONGEST, NOTE, apart, metric_name

OF_CELL = ("accuracy", "difference", "seconds", "memory", "p")
OF_NIGHT = {"evidence": ("p", "e"), "cost": ("seconds", "train_seconds", "usd")}


def night_title(night: Mapping[str, Any]) -> str:
    """Return the name of a night's run: date and verdict."""
    return f"{night['night']} {str(night['verdict']).replace('_', ' ')}"


def night_tags(night: Mapping[str, Any], note: str) -> dict[str, str]:
    """Return the tags of a night; ``note`` is its description in Markdown."""
    told = night.get("told")
    values = {
        "night": night["night"],
        "verdict": night["verdict"],
        "since": night.get("since"),
        "told": str(told.get("status")) if isinstance(told, Mapping) else None,
        NOTE: note,
    }
    return {name: str(value)[:LONGEST] for name, value in values.items() if value is not None}


def night_metrics(night: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a night, those of a cell as ``accuracy/<task>/<method>``.

    MLflow makes a section of charts of all that is before the last slash. A number that is missing is left out.
    """
    numbers: dict[str, float | None] = {}
    for cell in night.get("cells") or ():
        of_cell = {name: cell.get(name) for name in OF_CELL}
        of_cell["baseline"] = (cell.get("baseline") or {}).get("mean")
        numbers |= {f"{name}/{_apart(cell['task'])}/{_apart(cell['method'])}": of_cell[name] for name in of_cell}
    for part, names in OF_NIGHT.items():
        numbers |= {f"night/{part}_{name}": (night.get(part) or {}).get(name) for name in names}
    known = {name: float(value) for name, value in numbers.items() if value is not None and math.isfinite(value)}
    plain = apart({name: metric_name(name) for name in known})
    return {plain[name]: value for name, value in known.items()}


def step_of(night: str, first: str) -> int:
    """Return the step of a night on the charts: the days since the first night."""
    return (date.fromisoformat(night) - date.fromisoformat(first)).days


def time_ms(night: str) -> int:
    """Return the time of a night on the charts: its midnight in UTC, in milliseconds; the same whenever it is sent."""
    return int(datetime.fromisoformat(night).replace(tzinfo=UTC).timestamp() * 1000)


def digest_of(content: bytes) -> str:
    """Return the digest by which a night in MLflow is known to be its ``night.json``."""
    return hashlib.sha256(content).hexdigest()[:16]


def _apart(name: str) -> str:
    """Return a name without slashes, which would make sections of their own."""
    return str(name).replace("/", "_")
