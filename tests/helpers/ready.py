"""A sweep that is ready to train, without a base or data: for tests of what the driver decides."""

from __future__ import annotations

from pathlib import Path

from orchestrator.base.source import StoredBase
from orchestrator.data.prepared import Prepared, SplitReport
from orchestrator.driver.prepare import ReadySweep
from orchestrator.model.shortcuts import NONE
from orchestrator.plan.runs import expand, keyed
from orchestrator.recipe.read import read_recipe
from tests.helpers.sweeps import RECIPE

STEPS = 64  # long enough to measure widths


def ready_sweep(place: Path, *words: str) -> ReadySweep:
    """The small recipe with these words, as if base and data had been prepared below ``place``."""
    recipe = place / "small.yaml"
    recipe.write_text(RECIPE.format(base=place / "base", place=place))
    spec = read_recipe(recipe, words)
    report = SplitReport(
        read_train=64, read_test=24, duplicates=0, leaked=0, skipped=0, train=48, validation=16, test=24
    )
    data = {
        task.name: Prepared(task.name, place / f"{task.name}.safetensors", f"data of {task.name}", report, {}, {})
        for task in spec.tasks
    }
    return ReadySweep(
        spec=spec,
        base=StoredBase(place / "base", "base of a test"),
        data=data,
        steps=dict.fromkeys(data, STEPS),
        chance=dict.fromkeys(data, 0.25),
        row_tokens=dict.fromkeys(data, 16.0),
        work=dict.fromkeys(data, 1.0),
        shortcuts=NONE,
        runs=tuple(keyed(expand(spec), "base of a test", {task: one.fingerprint for task, one in data.items()})),
    )
