"""A sweep whose runs train nothing, through Tune, Train and MLflow; writes the seconds of its parts to a file.

    python -m benchmarks.control_arms.no_op_sweep FOLDER RUNS WIDTH

Each run begins an attempt, logs three steps and commits a row: everything that a sweep does around training.
"""

import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.plan.runs import PlannedRun
    from orchestrator.recipe.spec import SweepSpec
    from orchestrator.worker.jobs import PackJob

STEPS = 3
PARTS = "parts.json"
FINGERPRINT = "0" * 64  # neither base nor data are ever opened
TASKS = ("tiny_recall", "tiny_above")


def recipe(place: Path, runs: int) -> str:
    """Return a recipe with ``runs`` runs: two tasks, one method, ``runs / 2`` seeds."""
    return f"""
name: nothing
tasks: [{", ".join(TASKS)}]
methods: [{{name: d2lora, rank: 4, alpha: 8}}]
seeds: {list(range(runs // len(TASKS)))}
tracking: {{uri: "sqlite:///{place}/mlflow.db"}}
storage: {place}
"""


def planned(spec: "SweepSpec") -> "list[PlannedRun]":
    """Return the recipe's runs with their keys."""
    from orchestrator.plan.runs import expand, keyed

    return keyed(expand(spec), FINGERPRINT, dict.fromkeys(TASKS, FINGERPRINT))


def jobs_of(spec: "SweepSpec", runs: "Sequence[PlannedRun]", folder: Path, width: int) -> "list[PackJob]":
    """Return the jobs of the packs that a sweep makes of these runs."""
    from orchestrator.plan.packs import pack_runs
    from orchestrator.worker.jobs import PackJob

    packs = pack_runs(runs, widths=dict.fromkeys(TASKS, width), concurrent=1, base_tasks=[])
    return [PackJob(str(folder), "no base", FINGERPRINT, {}, spec.engine, pack) for pack in packs]


def do_nothing(job: "PackJob", device: Any, control: Any) -> None:  # noqa: ARG001 - what a trainer is called with
    """Do what a trainer does around training, but train nothing."""
    from orchestrator.files import write_lines
    from orchestrator.store.run_folder import RunFolder

    for run in job.pack.runs:
        attempt = RunFolder(Path(job.folder) / "runs" / run.key).begin(run.spec.model_dump())
        now = round(time.time() * 1000)
        steps = [{"step": step, "time": now, "train_loss": 1.0, "lr": 1e-3} for step in range(STEPS)]
        write_lines(attempt.path / "metrics.jsonl", steps)
        write_lines(attempt.path / "predictions.jsonl", [])
        (attempt.path / "adapter").mkdir()
        (attempt.path / "adapter" / "adapter.safetensors").write_bytes(b"nothing")
        attempt.commit(row_of(run))


def row_of(run: "PlannedRun") -> dict[str, Any]:
    """Return the row of results of a run that trained nothing."""
    from orchestrator.store.rows import METRICS

    spec = run.spec
    row = {"run_key": run.key, "task": spec.task.name, "method": spec.method.label, "lr": spec.lr, "seed": spec.seed}
    row |= {"settings": {"name": spec.method.name, **spec.method.settings}, "status": "committed"}
    return row | dict.fromkeys(METRICS, 0.5) | {"steps": STEPS, "tokens": 0, "train_seconds": 0.0}


def sweep(place: Path, runs: int, width: int) -> dict[str, float]:
    """Run the sweep; return the seconds of Ray's start and end, of the packs, and of MLflow after the packs.

    MLflow connects while Ray starts, so its connection is counted as Ray's start.
    """
    from orchestrator.cluster.ray_tune import RayCluster
    from orchestrator.recipe.read import read_recipe
    from orchestrator.store.identity import Identity
    from orchestrator.store.run_folder import RunFolder
    from orchestrator.tracking.mlflow.tracker import MlflowTracker
    from orchestrator.tracking.patient import PatientTracker

    file = place / "recipe.yaml"
    file.write_text(recipe(place, runs))
    spec = read_recipe(file)
    todo, folder = planned(spec), place / "nothing"
    tracker = PatientTracker(
        MlflowTracker(spec, spec.tracking.uri, "python -m benchmarks.control_arms.no_op_sweep", Identity("control")),
        print,
    )
    marks = [time.monotonic()]
    tracker.begin()
    cluster = RayCluster(spec.cluster, folder / ".ray")
    tracker.connect()
    marks.append(time.monotonic())
    try:
        failures = cluster.run_packs(jobs_of(spec, todo, folder, width), train=do_nothing)
    finally:
        marks.append(time.monotonic())
        cluster.close()
    marks.append(time.monotonic())
    if failures or not all(RunFolder(folder / "runs" / run.key).ended() for run in todo):
        raise RuntimeError(f"{len(failures)} packs failed: {next(iter(failures.values()), 'not all have committed')}")
    tracker.sync(todo, folder)
    marks.append(time.monotonic())
    if not all(tracker.run_id(run.key) for run in todo):
        raise RuntimeError("MLflow has not got every run.")
    return parts_of(marks)


def parts_of(marks: Sequence[float]) -> dict[str, float]:
    """Return the seconds between neighbouring marks: Ray's start, the packs, Ray's end, MLflow."""
    start, packs, stop, tracking = (end - begin for begin, end in itertools.pairwise(marks))
    return {"Ray": start + stop, "packs": packs, "MLflow": tracking}


if __name__ == "__main__":
    place, runs, width = Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3])
    (place / PARTS).write_text(json.dumps(sweep(place, runs, width)))
