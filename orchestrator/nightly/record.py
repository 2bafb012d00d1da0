"""The record of nights on disk: what each has measured and concluded, with seals; damage is told, never passed over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from orchestrator.files import read_json, write_json, write_lines
from orchestrator.nightly.history import in_order, row_of
from orchestrator.say import Say
from orchestrator.store.manifest import seal_of, sealed
from orchestrator.store.nights_folder import NightFolder, NightsFolder
from orchestrator.verdict.night import Night, World

OVER, SEAL = "over", "seal"
NOWHERE = World("", {}, None, "", "", {}, "")
"""The world of a night that left no measurements."""
Losses = dict[tuple[str, str, int], list[float]]
"""By task, method and seed the loss of each step."""
_NIGHT = TypeAdapter(Night)


def sealed_content(file: Path) -> dict[str, Any] | None:
    """Return the JSON object in ``file``; None if the file is missing, or does not fit its seal."""
    content = read_json(file)
    return dict(content) if isinstance(content, dict) and content.get(SEAL) == seal_of(content) else None


def write_measured(folder: NightFolder, night: Night, losses: Losses | None = None) -> None:
    """Write the night's measurements, before its verdict (``night.status`` is None) and after it."""
    if losses is not None:
        runs = [{"task": run[0], "method": run[1], "seed": run[2], "losses": each} for run, each in losses.items()]
        write_json(folder.losses, sealed({"runs": runs}))
    write_json(folder.measured, sealed(_NIGHT.dump_python(night, mode="json")))


def read_losses(folder: NightFolder) -> Losses:
    """Return the losses that a night has written; {} if they are gone or damaged: then no step can be named."""
    content = sealed_content(folder.losses)
    runs = content["runs"] if content else []
    return {(run["task"], run["method"], run["seed"]): run["losses"] for run in runs}


def history(nights: NightsFolder, before: str, say: Say) -> list[Night]:
    """Return the nights that began before the night ``before``, the oldest first.

    A night that never came to its verdict, or whose measurements are damaged, is there as incomplete: it enters no
    baseline. What is damaged is said. A night that is over, and whose measurements `gc` has deleted, is left out: it
    is older than all that a baseline needs.
    """
    earlier = [folder for folder in nights.nights if folder.name < before]
    return [_read(folder, say) for folder in earlier if folder.measured.exists() or over(folder) is None]


def over(folder: NightFolder) -> dict[str, Any] | None:
    """Return the content of ``night.json`` of a night that is over; None if the night has still to be run."""
    content = sealed_content(folder.night_json)
    return content if content is not None and content.get("status") == OVER else None


def write_night(folder: NightFolder, night: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``night.json``, and return its content with its seal."""
    content = sealed({key: value for key, value in night.items() if key != SEAL})
    write_json(folder.night_json, content)
    return content


def read_rows(nights: NightsFolder, say: Say) -> list[dict[str, Any]]:
    """Return the rows of ``nights.jsonl`` in order; a row that is missing or damaged comes from its ``night.json``."""
    rows = dict[str, dict[str, Any]]()
    lines = nights.rows.read_bytes().splitlines() if nights.rows.exists() else []
    for number, line in enumerate(lines, start=1):
        row = _row(line)
        if row is None:
            say(f"{nights.rows}:{number}: this row is damaged; it is written anew if the night's night.json is there")
        else:
            rows[row["night"]] = row
    for folder in nights.nights:
        if folder.name not in rows and (night := over(folder)) is not None:
            rows[folder.name] = row_of(night)
    return [dict(row) for row in in_order(rows.values())]


def write_rows(nights: NightsFolder, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``nights.jsonl``."""
    write_lines(nights.rows, [dict(row) for row in in_order(rows)])


def _read(folder: NightFolder, say: Say) -> Night:
    content = sealed_content(folder.measured)
    if content is None:
        damaged = folder.measured.exists()
        why = f"{folder.measured} is damaged" if damaged else "it was broken off before it was measured"
        if damaged:
            say(
                f"{why}: the night {folder.name} counts as incomplete. Bring the file back from a copy if there is one."
            )
        return _incomplete(folder, why)
    try:
        night = _NIGHT.validate_python({key: value for key, value in content.items() if key != SEAL})
    except ValidationError as error:
        why = f"{folder.measured} is of another version ({error.error_count()} fields differ)"
        say(f"{why}: the night {folder.name} counts as incomplete.")
        return _incomplete(folder, why)
    return night if night.status is not None else _incomplete(folder, "it was broken off before its verdict")


def _incomplete(folder: NightFolder, why: str) -> Night:
    return Night(folder.name, NOWHERE, (), broken=why, status="incomplete", since=folder.name)


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("night"), str) and "verdict" in row else None
