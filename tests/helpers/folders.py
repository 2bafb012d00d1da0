"""Folders of sweeps that nobody has trained: sweep.json, and runs at the stage that a test wants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator import objects
from orchestrator.files import write_bytes, write_json, write_lines
from orchestrator.plan.runs import PlannedRun, expand, keyed
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.attempt import Attempt
from orchestrator.store.sweep_folder import SweepFolder

RECIPE = """
name: made
tasks: [tiny_recall, tiny_above]
methods: [{name: lora, rank: 4}, {name: dora, rank: 4}]
seeds: [0, 1, 2]
optim: {epochs: 2, micro_batch: 8, global_batch: 32}
tracking: {uri: none}
"""
ROWS = 640
STEPS = 40


class Made:
    """The folder of a sweep of `RECIPE`: ``path`` is the recipe's file, ``words`` complete the command line."""

    def __init__(self, place: Path, storage: str) -> None:
        self.path = place / "made.yaml"
        self.path.write_text(RECIPE)
        self.words = [str(self.path), f"storage={storage}"]
        self.spec = read_recipe(self.path, self.words[1:])
        self.folder = SweepFolder.of(self.spec)
        self.runs = self.keyed(self.spec)

    def keyed(self, spec: SweepSpec) -> list[PlannedRun]:
        """Return the runs of a recipe with the keys that they have in this folder."""
        return keyed(expand(spec), "base", {task.name: f"data of {task.name}" for task in spec.tasks})

    def begin(self) -> Made:
        """Write sweep.json."""
        data = {task.name: {"fingerprint": f"data of {task.name}", "train": ROWS} for task in self.spec.tasks}
        recipe = self.spec.model_dump(mode="json")
        keys = [run.key for run in self.runs]
        write_json(self.folder.sweep, {"recipe": recipe, "base": "base", "data": data, "runs": keys})
        return self

    def attempt(self, number: int, steps: int = 0) -> Attempt:
        """Begin an attempt at the run ``number``, with so many steps in its log."""
        run = self.runs[number]
        attempt = self.folder.run(run.key).begin(run.spec.model_dump(mode="json"))
        lines = [json.dumps({"step": step + 1, "train_loss": 0.5}) + "\n" for step in range(steps)]
        (attempt.path / "metrics.jsonl").write_text("".join(lines) + '{"step": 9')  # a line that is being written
        return attempt

    def checkpoint(self, attempt: Attempt, step: int) -> Path:
        """Write what looks like a checkpoint."""
        place = attempt.path / "checkpoints" / f"{step:08d}"
        for name in ("lane.safetensors", "CHECKPOINT.json"):
            write_bytes(place / name, b"{}")
            objects.put(place / name)
        return place

    def row(self, number: int, **more: Any) -> dict[str, Any]:
        """Return a row of results of the run ``number``."""
        run = self.runs[number]
        spec = run.spec
        row = {"run_key": run.key, "task": spec.task.name, "method": spec.method.label, "lr": spec.lr, **spec.seeds}
        return row | {"status": "committed", "accuracy": 0.5, "validation_accuracy": 0.5 + number / 100, **more}

    def commit(self, number: int, row: Mapping[str, Any] | None = None) -> Attempt:
        """Commit the run ``number``."""
        attempt = self.attempt(number, STEPS)
        write_bytes(attempt.path / "adapter" / "adapter.safetensors", b"adapter" * 100)
        write_lines(attempt.path / "metrics.jsonl", [{"step": step + 1} for step in range(STEPS)])
        write_lines(attempt.path / "predictions.jsonl", [{"index": 0}])
        attempt.commit(row or self.row(number))
        return attempt

    def diverge(self, number: int) -> Attempt:
        """Let the run ``number`` end as diverged."""
        attempt = self.attempt(number, 3)
        attempt.diverge(self.row(number, status="diverged"))
        return attempt
