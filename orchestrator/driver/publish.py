"""Publish the results: the report in the sweep's folder, and figures, files and champions on the tracker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.driver.champions import Champions
from orchestrator.driver.prepare import ReadySweep
from orchestrator.files import read_json
from orchestrator.report.page import write_report
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
    for task, evaluation in champions.evaluations.items():
        if evaluation["status"] != "broken":
            tracker.register(task, evaluation, folder.champion(task))
    tracker.summarise(summary, folder.path, complete)
    return complete and tracker.behind is None
