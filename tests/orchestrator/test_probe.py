"""The measurement of widths: on a real base, in this process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from orchestrator import probe
from orchestrator.model import load_model, shorten_model
from orchestrator.plan import expand, keyed
from orchestrator.prepare import make_ready
from orchestrator.probe import ProbeJob, probe_widths
from orchestrator.recipe import read_recipe
from orchestrator.widths import Point
from tests.sweeps import RUNS, run

CPU = torch.device("cpu")


def job_of(recipe: Path, *words: str) -> ProbeJob:
    sweep = read_recipe(recipe, words)
    ready = make_ready(sweep, recipe.parent / ".cache", lambda _: None)
    runs = keyed(expand(sweep), ready.base.fingerprint, ready.fingerprints)
    data = {task: str(one.path) for task, one in ready.data.items()}
    return ProbeJob(str(ready.base.path), data, sweep.engine, tuple(runs), 1)


def test_every_task_gets_a_width_between_one_and_all_runs(recipe: Path) -> None:
    widths = probe_widths(job_of(recipe), CPU)
    assert widths.keys() == {"tiny_recall", "tiny_above"}
    assert all(1 <= width <= RUNS for width in widths.values())


def test_widths_follow_what_is_measured(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(recipe, "seeds=[0,1,2,3]")  # two tasks of eight runs, which may fill a pack together
    for exponent, wanted in ((1.0, 1), (0.5, 16)):

        def point(self: object, lanes: int, idle: int, exponent: float = exponent) -> Point:
            return Point(lanes, float(lanes**exponent), idle + lanes)

        monkeypatch.setattr(probe._Probe, "_point", point)
        assert set(probe_widths(job, CPU).values()) == {wanted}


def test_tasks_share_the_trainers_so_that_each_may_fill_a_pack(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = replace(job_of(recipe, "seeds=[0,1,2,3]", "methods=[lora]"), trainers=2)  # two tasks of four runs each
    monkeypatch.setattr(probe._Probe, "_point", lambda _, lanes, idle: Point(lanes, lanes**0.5, idle + lanes))
    assert set(probe_widths(job, CPU).values()) == {4}


def test_a_shortened_model_keeps_its_first_blocks_and_says_how_many_times_more_there_were(small_base: Path) -> None:
    model = load_model(small_base)
    blocks = len(model.base_model.layers)
    first = model.base_model.layers[0]
    assert shorten_model(model, 1) == blocks
    assert list(model.base_model.layers) == [first]
    assert model(input_ids=torch.zeros(1, 3, dtype=torch.long)).logits.isfinite().all()
    assert shorten_model(model, 4) == 1.0


def test_a_sweep_measures_says_so_and_trains_everything(recipe: Path) -> None:
    code, told, _ = run(recipe, "cluster.pack=auto", "champions=false", "tracking.uri=none")
    assert code == 0
    assert "measuring how many runs to train together" in told
    assert "runs to a pack, at most: tiny_recall" in told


def test_a_measurement_that_fails_costs_nothing_but_packing(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(probe._Probe, "width", broken)
    code, told, _ = run(recipe, "cluster.pack=auto", "champions=false", "tracking.uri=none")
    assert code == 0
    assert "measuring failed (no room); every run is trained alone" in told
