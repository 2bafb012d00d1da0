"""Collect the content of the run folders into results.jsonl, the predictions and summary.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.addresses import without_secrets
from orchestrator.driver.prepare import ReadySweep
from orchestrator.driver.validation_scores import ValidationScores
from orchestrator.files import read_json, write_bytes, write_json, write_lines
from orchestrator.plan.budget import left_out
from orchestrator.plan.runs import PlannedRun
from orchestrator.search.next_runs import why_not_trained
from orchestrator.store.rows import PublishedPredictions, dropped_row, publish_predictions, result_row
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.summary.summary import summary_of
from orchestrator.tracking.patient import PatientTracker

Row = dict[str, Any]


def collect(
    ready: ReadySweep,
    folder: SweepFolder,
    tracker: PatientTracker,
    scores: ValidationScores,
    errors: Mapping[str, str],
) -> tuple[list[Row], dict[str, Any]]:
    """Write results.jsonl, predictions and summary.json; return the rows, one per planned run, and the summary.

    ``errors`` (run key -> error) has the error of each run that could not be trained. The tracker shows the error, and
    a file beside the run's folder has the full text of the error.
    """
    errors = {key: without_secrets(error) for key, error in errors.items()}  # a library's error may quote an address
    tracker.sync(ready.runs, folder.path, now=True)
    needless = why_not_trained(ready.spec, ready.runs, scores.read(), errors)
    rows = [_row(run, ready, folder, tracker, errors, needless) for run in ready.runs]
    committed = [row["run_key"] for row in rows if row["status"] == "committed"]
    for key in committed:
        publish_predictions(folder.run(key), folder.predictions(key))
    for run in ready.runs:
        if folder.run(run.key).ended():  # perhaps after its trainer was given up
            folder.run(run.key).error.unlink(missing_ok=True)
        elif run.key in errors and not left_out([errors[run.key]]):  # what a budget leaves out has not failed
            write_bytes(folder.run(run.key).error, errors[run.key].encode())
            tracker.fail(run, errors[run.key])
    write_lines(folder.results, rows)
    summary: dict[str, Any] = {**summary_of(rows, PublishedPredictions(folder, committed))}
    write_json(folder.summary, summary)
    return rows, summary


def _row(
    run: PlannedRun,
    ready: ReadySweep,
    folder: SweepFolder,
    tracker: PatientTracker,
    errors: Mapping[str, str],
    needless: Mapping[str, str],
) -> Row:
    """Return the row of a run: "dropped" if the search decided not to train the run, else the row of the run's end."""
    base_scores = read_json(ready.base_scores(folder, run.spec.task.name))
    extra = {
        "mlflow_run_id": tracker.run_id(run.key),
        "base_accuracy": base_scores["accuracy"] if isinstance(base_scores, dict) else None,
    }
    if run.key in needless and folder.run(run.key).ended() is None:
        return dropped_row(run, needless[run.key], extra | {"search": ready.spec.search.kind})
    return result_row(run, folder.run(run.key), errors.get(run.key, "not trained yet"), extra)
