"""Publish the results: the report in the sweep's folder, and figures, files and champions on the tracker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.driver.champions import Champions
from orchestrator.driver.prepare import ReadySweep
from orchestrator.files import read_json, write_lines
from orchestrator.report.page import write_report
from orchestrator.store.champion import champion_before
from orchestrator.store.rows import FINAL
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.tracking.patient import PatientTracker


def publish(
    ready: ReadySweep,
    folder: SweepFolder,
    tracker: PatientTracker,
    rows: Sequence[dict[str, Any]],
    summary: dict[str, Any],
    champions: Champions,
) -> bool:
    """Write the report and bring the tracker up to date; return whether the sweep is complete, on the tracker too.

    A sweep is complete if no run is to be trained again, and no champion has a problem.
    """
    complete = not champions.problems and all(row["status"] in FINAL for row in rows)
    write_report(folder.report, read_json(folder.sweep), summary, list(rows), champions.evaluations)
    tracker.sync(ready.runs, folder.path)  # asks the server for nothing if the last sync arrived
    _add_ids(rows, folder, tracker)
    for task, evaluation in champions.evaluations.items():
        if evaluation["status"] != "broken":
            place = folder.champion(task)
            tracker.register(task, evaluation, place, champion_before(place))
    tracker.summarise(summary, folder.path, complete)
    return complete and tracker.behind is None


def _add_ids(rows: Sequence[dict[str, Any]], folder: SweepFolder, tracker: PatientTracker) -> None:
    """Write the tracker's id of each run that was not shown yet when its row was written."""
    new = {row["run_key"]: tracker.run_id(row["run_key"]) for row in rows if row.get("mlflow_run_id") is None}
    if any(new.values()):
        shown = [{**row, "mlflow_run_id": new.get(row["run_key"], row["mlflow_run_id"])} for row in rows]
        write_lines(folder.results, shown)
