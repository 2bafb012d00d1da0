"""What MLflow must show of `tracked_sweep`, however often it was sent and wherever it is kept."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.store.identity import identity_of
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.tracking.mlflow.tracker import MlflowTracker
from orchestrator.tracking.patient import PatientTracker
from tests.helpers.tracked.tracked_sweep import (
    METHODS,
    RUNS,
    STEPS,
    SWEEP,
    TRAINER,
    accuracy,
    time_of,
    write_champion,
    write_sweep,
)

COMMAND = "python jobs/sweep.py r.yaml"
FIGURES = [f"figures/{name}.png" for name in ("accuracy", "best_of_n", "learning_curves", "learning_rates")]
GROUPS = {(task.name, method.label) for task in SWEEP.tasks for method in METHODS}


def send(folder: Path, uri: str, summary: dict[str, Any], champion: tuple[dict[str, Any], Path]) -> None:
    """Show the sweep as a driver that has just trained it, or was started again, does."""
    tracker = PatientTracker(MlflowTracker(SWEEP, uri, COMMAND, identity_of(SweepFolder(folder))), lambda _: None)
    tracker.connect()
    tracker.sync(RUNS, folder)
    assert tracker.behind is None
    tracker.register("boolq", *champion)
    assert tracker.behind is None
    tracker.summarise(summary, folder, True)
    assert tracker.behind is None


def check_sweep(client: Any, folder: Path, uri: str, tmp_path: Path) -> None:
    """Send the sweep by two drivers and hold what is there to what was written."""
    summary, champion = write_sweep(folder), write_champion(folder, "boolq")
    send(folder, uri, summary, champion)
    send(folder, uri, summary, champion)
    experiment = client.get_experiment_by_name("tracked").experiment_id
    runs = client.search_runs([experiment], max_results=1000)
    assert Counter(run.data.tags["kind"] for run in runs) == {"run": len(RUNS), "group": len(GROUPS), "sweep": 1}
    (top,) = (run for run in runs if run.data.tags["kind"] == "sweep")
    groups = {(run.data.tags["task"], run.data.tags["method"]): run for run in runs if run.data.tags["kind"] == "group"}
    assert groups.keys() == GROUPS
    leaves = {run.data.tags["run_key"]: run for run in runs if run.data.tags["kind"] == "run"}
    assert leaves.keys() == {run.key for run in RUNS}
    for run in RUNS:
        group = groups[run.spec.task.name, run.spec.method.label]
        assert leaves[run.key].data.tags["mlflow.parentRunId"] == group.info.run_id
        assert group.data.tags["mlflow.parentRunId"] == top.info.run_id
        assert COMMAND in leaves[run.key].data.tags["mlflow.note.content"]
        used = {name: leaves[run.key].data.metrics[f"system/trainer_{name}"] for name in TRAINER}
        assert used == TRAINER
    assert len(client.get_metric_history(leaves[RUNS[0].key].info.run_id, "train_loss")) == 40
    _check_durations(groups, leaves, top)
    _check_statistics(client, experiment, groups)
    _check_inputs(client, experiment, groups, top)
    _check_artefacts(client, groups, top, tmp_path)
    versions = client.search_model_versions("name = 'tracked-boolq'")
    assert [version.tags["run_key"] for version in versions] == [champion[0]["run_key"]]
    assert client.get_model_version_by_alias("tracked-boolq", "champion").version == versions[0].version
    assert champion[1].as_uri() in (versions[0].source, versions[0].tags.get("place"))


def _check_durations(groups: dict[tuple[str, str], Any], leaves: dict[str, Any], top: Any) -> None:
    """Each run lasts from its first step to its last, its group and the sweep from the first begin to the last end."""
    spans: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for run in RUNS:
        info, span = leaves[run.key].info, (time_of(run, -1), time_of(run, STEPS - 1))
        assert (info.start_time, info.end_time) == span
        spans.setdefault((run.spec.task.name, run.spec.method.label), []).append(span)
    spans["", ""] = [span for of_group in spans.values() for span in of_group]
    for key, parent in [*groups.items(), (("", ""), top)]:
        begins, ends = zip(*spans[key], strict=True)
        assert (parent.info.start_time, parent.info.end_time) == (min(begins), max(ends))


def _check_statistics(client: Any, experiment: str, groups: dict[tuple[str, str], Any]) -> None:
    """Statistics are over the seeds of the chosen rate; each was sent once, and can be searched by."""
    for (task, method), group in groups.items():
        lr = float(group.data.tags["lr"])
        of = [one for one in RUNS if (one.spec.task.name, one.spec.method.label, one.spec.lr) == (task, method, lr)]
        scores = [accuracy(one) for one in of]
        numbers = group.data.metrics
        assert numbers["mean_accuracy"] == pytest.approx(np.mean(scores), abs=1e-12)
        assert numbers["sd_accuracy"] == pytest.approx(np.std(scores, ddof=1), abs=1e-12)
        assert (numbers["n"], group.info.status) == (3, "FINISHED")
        assert "over 3 seeds" in group.data.tags["mlflow.note.content"]
        assert len(client.get_metric_history(group.info.run_id, "mean_accuracy")) == 1
    query = "tags.kind = 'group' and tags.task = 'boolq' and tags.method = 'lora' and metrics.mean_accuracy > 0.5"
    assert [one.info.run_id for one in client.search_runs([experiment], query)] == [groups["boolq", "lora"].info.run_id]


def _check_inputs(client: Any, experiment: str, groups: dict[tuple[str, str], Any], top: Any) -> None:
    """Each group has its task's data and the base, once; the sweep has all; the base has no files."""
    (base,) = client.search_logged_models([experiment])
    assert (str(base.status), base.params["fingerprint"]) == ("READY", "b" * 64)
    for (task, _), group in [*groups.items(), (("", ""), top)]:
        inputs = client.get_run(group.info.run_id).inputs
        names = [one.dataset.name for one in inputs.dataset_inputs]
        assert sorted(names) == ([task] if task else ["arc_easy", "boolq"])
        assert [one.model_id for one in inputs.model_inputs] == [base.model_id]
        for one in inputs.dataset_inputs:
            profile = json.loads(one.dataset.profile)
            assert (profile["num_rows"], profile["train"], profile["test"]) == (118, 80, 30)
            assert one.dataset.digest == {"boolq": "d", "arc_easy": "e"}[one.dataset.name] * 32


def _check_artefacts(client: Any, groups: dict[tuple[str, str], Any], top: Any, tmp_path: Path) -> None:
    """The parents have figures that are pictures, and tables that are named to MLflow's pages."""
    for one in [*groups.values(), top]:
        figures = [file.path for file in client.list_artifacts(one.info.run_id, "figures")]
        assert figures == (FIGURES if one is top else ["figures/learning_curves.png"])
        for figure in figures:
            content = Path(client.download_artifacts(one.info.run_id, figure, str(tmp_path))).read_bytes()
            assert content.startswith(b"\x89PNG")
            assert len(content) > 5000
        (named,) = json.loads(one.data.tags["mlflow.loggedArtifacts"])
        table = json.loads(Path(client.download_artifacts(one.info.run_id, named["path"], str(tmp_path))).read_text())
        assert len(table["data"]) == (len(groups) if one is top else len(RUNS) // len(groups))
        assert {len(row) for row in table["data"]} == {len(table["columns"])}
    charts = [Path(file.path) for file in client.list_artifacts(top.info.run_id, "images")]
    assert Counter(path.suffix for path in charts) == {".png": 6, ".webp": 6}  # three a task, each once
    assert top.data.tags["mlflow.loggedImages"] == "True"
    files = {file.path for file in client.list_artifacts(top.info.run_id)}
    assert {"report.html", "summary.json", "results.jsonl", "sweep.json"} <= files
