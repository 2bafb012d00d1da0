"""A finished sweep's folder without training: two tasks, two methods, two rates, three seeds; one run diverged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestrator.files import read_json, write_json, write_lines
from orchestrator.plan.runs import PlannedRun, expand, keyed
from orchestrator.recipe.sections import MethodSpec, OptimSpec, TaskSpec
from orchestrator.recipe.spec import SweepSpec
from orchestrator.summary.summary import summary_of

STEPS = 40
STEP_MS = 100
BEGAN_MS = 1_700_000_000_000  # when the first run began; the others one second after the other
METHODS = [
    MethodSpec(name="lora", settings={"rank": 8}, label="lora", targets="attention"),
    MethodSpec(name="d2lora", settings={"rank": 2}, label="d2lora(rank=2,alpha=4)", targets="attention"),
]
SWEEP = SweepSpec(
    name="tracked",
    tasks=[TaskSpec(name="boolq"), TaskSpec(name="arc_easy")],
    methods=METHODS,
    seeds=[0, 1, 2],
    optim=OptimSpec(lr=[1e-4, 2e-4]),
)
RUNS = keyed(expand(SWEEP), "b" * 64, {"boolq": "d" * 64, "arc_easy": "e" * 64})
DIVERGED = RUNS[-1]
SIZES = {"read_train": 90, "read_test": 30, "duplicates": 2, "leaked": 1, "skipped": 0}
SIZES |= {"train": 80, "validation": 8, "test": 30}
TRAINER = {"peak_memory_megabytes": 512.5, "cpu_seconds": 7.25, "runs": 4}


def accuracy(run: PlannedRun) -> float:
    """Return an accuracy that differs by task, method, rate and seed."""
    spec = run.spec
    return 0.5 + 0.1 * (spec.task.name == "boolq") + 0.05 * (spec.method.name == "d2lora") + 0.01 * spec.seed + spec.lr


def time_of(run: PlannedRun, step: int) -> int:
    """Return when a step ended, in milliseconds; step -1 is when the run began."""
    return BEGAN_MS + 1000 * RUNS.index(run) + STEP_MS * (step + 1)


def row(run: PlannedRun) -> dict[str, Any]:
    """Return the row of a run."""
    spec, lost = run.spec, run == DIVERGED
    score = None if lost else accuracy(run)
    values: dict[str, Any] = {"run_key": run.key, "task": spec.task.name, "method": spec.method.label, "lr": spec.lr}
    values |= {"seed": spec.seed, "status": "diverged" if lost else "committed", "accuracy": score}
    values |= {"validation_accuracy": score, "eval_loss": 1.5, "train_loss_volatility": 0.25, "train_seconds": 1.0}
    return values | {"trainable_parameters": 1000, "base_accuracy": 0.4, "trainer": TRAINER}


def write_sweep(folder: Path) -> dict[str, Any]:
    """Write run folders, results, summary and sweep.json as a sweep leaves them; return the summary."""
    for index, run in enumerate(RUNS):
        place = folder / "runs" / run.key
        log = place / "attempt-1" / "metrics.jsonl" if run == DIVERGED else place / "metrics.jsonl"
        steps = [
            {"step": step, "time": time_of(run, step), "train_loss": 1 / (step + 1) + 0.1 * index, "tokens": 8 * step}
            for step in range(STEPS)
        ]
        write_lines(log, steps)
        write_json(place / ("DIVERGED.json" if run == DIVERGED else "COMMITTED.json"), {"row": row(run), "files": {}})
    rows = [row(run) for run in RUNS]
    write_lines(folder / "results.jsonl", rows)
    write_json(folder / "summary.json", {**summary_of(rows, {})})
    (folder / "report.html").write_text("<!doctype html><title>report</title>")
    data = {"boolq": {"fingerprint": "d" * 64, **SIZES}, "arc_easy": {"fingerprint": "e" * 64, **SIZES}}
    sweep = {"command": "python jobs/sweep.py r.yaml", "commit": None, "recipe": SWEEP.model_dump(), "data": data}
    write_json(folder / "sweep.json", sweep | {"base": "b" * 64})
    summary: dict[str, Any] = read_json(folder / "summary.json")
    return summary


def write_champion(folder: Path, task: str) -> tuple[dict[str, Any], Path]:
    """Write a champion's folder; return its evaluation and its place."""
    place = folder / "champions" / task
    run = next(run for run in RUNS if run.spec.task.name == task)
    evaluation = {"run_key": run.key, "method": run.spec.method.label, "accuracy_merged": 0.6}
    place.mkdir(parents=True)
    (place / "evaluation.json").write_text(json.dumps(evaluation))
    return evaluation, place
