"""The report from the files of a sweep's folder alone: nothing is trained, counted or merged again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError
from orchestrator.files import read_json, read_lines
from orchestrator.store.sweep_folder import SweepFolder


def report_again(folder: Path, first: str) -> Path:
    """Write ``folder/report.html`` from what is committed there and return its path.

    InputError where results or summary are missing or damaged; it says to run the command ``first``.
    """
    from orchestrator.report.page import write_report

    rows, summary = _rows(folder, first), _summary(folder, first)
    sweep = SweepFolder(folder)
    write_report(sweep.report, _object(sweep.sweep), summary, rows, _champions(folder))
    return sweep.report


def _rows(folder: Path, first: str) -> list[dict[str, Any]]:
    file = SweepFolder(folder).results
    if not file.is_file():
        raise InputError(f"{folder} has no results.jsonl, so there is nothing to report yet. First: {first}")
    try:
        return read_lines(file)
    except json.JSONDecodeError as error:
        raise InputError(f"{file} is damaged ({error}). Write it again: {first}") from None


def _summary(folder: Path, first: str) -> dict[str, Any]:
    file = SweepFolder(folder).summary
    found = _object(file)
    if "tasks" not in found:
        raise InputError(f"{file} is missing or damaged. Write it again: {first}")
    return found


def _champions(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the evaluation of every champion that is there whole, by task."""
    evaluations = {task: _object(file) for task, file in SweepFolder(folder).evaluations().items()}
    return {task: evaluation for task, evaluation in evaluations.items() if evaluation}


def _object(file: Path) -> dict[str, Any]:
    """Return the JSON object in ``file``; an empty one where there is none."""
    found = read_json(file)
    return found if isinstance(found, dict) else {}
