"""The report from the files of a sweep's folder alone: nothing is trained, counted or merged again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError
from orchestrator.files import read_json, read_lines


def report_again(folder: Path, first: str) -> Path:
    """Write ``folder/report.html`` from what is committed there and return its path.

    InputError where results or summary are missing or damaged; it says to run the command ``first``.
    """
    from orchestrator.report.page import write_report

    rows, summary = _rows(folder, first), _summary(folder, first)
    page = folder / "report.html"
    write_report(page, _object(folder / "sweep.json"), summary, rows, _champions(folder))
    return page


def _rows(folder: Path, first: str) -> list[dict[str, Any]]:
    file = folder / "results.jsonl"
    if not file.is_file():
        raise InputError(f"{folder} has no results.jsonl, so there is nothing to report yet. First: {first}")
    try:
        return read_lines(file)
    except json.JSONDecodeError as error:
        raise InputError(f"{file} is damaged ({error}). Write it again: {first}") from None


def _summary(folder: Path, first: str) -> dict[str, Any]:
    found = _object(folder / "summary.json")
    if "tasks" not in found:
        raise InputError(f"{folder / 'summary.json'} is missing or damaged. Write it again: {first}")
    return found


def _champions(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the evaluation of every champion that is there whole, by task; drafts and old ones have a dot."""
    files = sorted(folder.glob("champions/*/evaluation.json"))
    evaluations = {file.parent.name: _object(file) for file in files if "." not in file.parent.name}
    return {task: found for task, found in evaluations.items() if found}


def _object(file: Path) -> dict[str, Any]:
    """Return the JSON object in ``file``; an empty one where there is none."""
    found = read_json(file)
    return found if isinstance(found, dict) else {}
