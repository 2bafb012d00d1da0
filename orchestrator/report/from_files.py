"""The report from the files of a sweep's folder alone: nothing is trained, counted or merged again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.errors import InputError
from orchestrator.files import read_json, read_lines
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.summary.table import ResultTable


def report_again(folder: Path, first: str) -> Path:
    """Write ``report.html`` from the committed results in the sweep's ``folder``; return its path.

    Raises:
        InputError: if results or summary are missing or damaged; the message says to run the command ``first``.
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
        rows = read_lines(file)
        ResultTable(rows)
    except ValueError as error:  # no JSON, or a run that is there twice
        raise InputError(f"{file} is damaged ({error}). Write it again: {first}") from None
    return rows


def _summary(folder: Path, first: str) -> dict[str, Any]:
    file = SweepFolder(folder).summary
    summary = _object(file)
    if "tasks" not in summary:
        raise InputError(f"{file} is missing or damaged. Write it again: {first}")
    return summary


def _champions(folder: Path) -> dict[str, dict[str, Any]]:
    """Return by task the evaluation of every champion whose ``evaluation.json`` can be read."""
    evaluations = {task: _object(file) for task, file in SweepFolder(folder).evaluations().items()}
    return {task: evaluation for task, evaluation in evaluations.items() if evaluation}


def _object(file: Path) -> dict[str, Any]:
    """Return the JSON object in ``file``; an empty object if the file is missing or holds anything else."""
    content = read_json(file)
    return content if isinstance(content, dict) else {}
