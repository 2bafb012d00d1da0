"""The measurement of widths: on a real base, in this process."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from d2lora.attachment import adapted_layers
from orchestrator.data.prepared import load_prepared
from orchestrator.driver.prepare import make_ready
from orchestrator.model.loading import first_layers, load_model, shorten_model
from orchestrator.plan import widths
from orchestrator.plan.runs import expand, keyed
from orchestrator.plan.widths import Point
from orchestrator.recipe.read import read_recipe
from orchestrator.train.passes import FILLED
from orchestrator.worker import probe
from orchestrator.worker.jobs import ProbeJob
from orchestrator.worker.pack_trainer import PackInTraining
from orchestrator.worker.probe import probe_widths
from tests.helpers.models.architectures import model_of
from tests.helpers.sweeps import RUNS, run

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

        monkeypatch.setattr(probe.TaskProbe, "point", point)
        assert set(probe_widths(job, CPU).values()) == {wanted}


def test_tasks_share_the_trainers_so_that_each_may_fill_a_pack(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = replace(job_of(recipe, "seeds=[0,1,2,3]", "methods=[lora]"), trainers=2)  # two tasks of four runs each
    monkeypatch.setattr(probe.TaskProbe, "point", lambda _, lanes, idle: Point(lanes, lanes**0.5, idle + lanes))
    assert set(probe_widths(job, CPU).values()) == {4}


def test_a_shortened_model_keeps_its_first_blocks_and_says_how_many_times_more_there_were(small_base: Path) -> None:
    model = load_model(small_base)
    blocks = len(model.base_model.layers)
    first = model.base_model.layers[0]
    assert shorten_model(model, 1) == blocks
    assert list(model.base_model.layers) == [first]
    assert model(input_ids=torch.zeros(1, 3, dtype=torch.long)).logits.isfinite().all()
    assert shorten_model(model, 4) == 1.0


def test_a_sweep_measures_says_so_and_trains_everything(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widths, "LONG_SWEEP", 1)
    code, told, _ = run(recipe, "cluster.pack=auto", "champions=false", "tracking.uri=none")
    assert code == 0
    assert "measuring how many runs to train together" in told
    assert "runs per pack, at most: tiny_recall" in told


def test_a_measurement_that_fails_costs_nothing_but_packing(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(widths, "LONG_SWEEP", 1)
    monkeypatch.setattr(probe.TaskProbe, "width", broken)
    code, told, _ = run(recipe, "cluster.pack=auto", "champions=false", "tracking.uri=none")
    assert code == 0
    assert "measuring failed (no room); every run is trained alone" in told


def test_a_model_has_fewer_layers_for_a_while_and_then_its_own_again(small_base: Path) -> None:
    model = load_model(small_base)
    blocks = list(model.base_model.layers)
    with suppress(KeyError), first_layers(model, 1):
        assert list(model.base_model.layers) == blocks[:1]
        raise KeyError
    assert list(model.base_model.layers) == blocks


class Layered:
    """Memory in which a step needs so much for each layer, and so much whatever the layers: the work within one."""

    def __init__(self, model: torch.nn.Module, each: int, fixed: int) -> None:
        self.model, self.each, self.fixed = model, each, fixed

    def reset_peak(self, device: torch.device) -> None:
        pass

    def held_bytes(self, device: torch.device) -> int:
        return 1000

    def peak_bytes(self, device: torch.device) -> int:
        return 1000 + self.fixed + self.each * len(self.model.base_model.layers)

    def free_bytes(self, device: torch.device) -> int:
        return 10**9


def test_memory_that_does_not_grow_with_layers_is_counted_once(recipe: Path, tmp_path: Path) -> None:
    """With checkpointing nearly all is the work within one layer: scaling it all would make packs far too narrow."""
    job = job_of(recipe)
    items = load_prepared(Path(job.data["tiny_recall"]))["train"]
    model = model_of("llama", num_hidden_layers=12, vocab_size=600)
    times = shorten_model(model, probe.LAYERS)
    assert times == 3.0
    memory = Layered(model, each=10, fixed=7000)
    point = probe.TaskProbe(model, times, job.runs, items, job.engine, CPU, memory).point(1, 1000)
    assert point.bytes == 1000 + 7000 + 12 * 10
    assert len(model.base_model.layers) == probe.LAYERS


def test_a_point_that_memory_has_no_room_for_ends_its_task_alone(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(recipe, "seeds=[0,1,2,3]")
    left: list[bool] = []

    def point(self: probe.TaskProbe, lanes: int, idle: int) -> Point:
        if (self.runs[0].spec.task.name, lanes) == ("tiny_recall", 4):
            with self.with_lanes(lanes):
                raise torch.OutOfMemoryError("CUDA out of memory.")
        left.append(bool(adapted_layers(self.model)))
        return Point(lanes, lanes**0.5, idle + lanes)

    monkeypatch.setattr(probe.TaskProbe, "point", point)
    assert probe_widths(job, CPU) == {"tiny_recall": 2, "tiny_above": 16}
    assert not any(left)


def test_a_task_of_which_not_even_one_lane_fits_is_trained_run_by_run(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def point(self: probe.TaskProbe, lanes: int, idle: int) -> Point:
        if self.runs[0].spec.task.name == "tiny_recall":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return Point(lanes, lanes**0.5, idle + lanes)

    monkeypatch.setattr(probe.TaskProbe, "point", point)
    assert probe_widths(job_of(recipe), CPU) == {"tiny_recall": 1, "tiny_above": 8}


def test_other_errors_end_the_measurement(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def point(*_: object) -> Point:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(probe.TaskProbe, "point", point)
    with pytest.raises(RuntimeError, match="shapes"):
        probe_widths(job_of(recipe), CPU)


def test_a_pack_that_memory_has_no_room_for_is_told_and_its_runs_are_trained_alone(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = PackInTraining.train

    def narrow(self: PackInTraining) -> None:
        if len(self.runs) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        train(self)

    monkeypatch.setattr(PackInTraining, "train", narrow)
    code, told, _ = run(recipe, "tasks=[tiny_recall]", "champions=false", "tracking.uri=none")
    assert code == 0
    assert "memory was full: these runs are now trained in packs half as large, or alone" in told


def test_on_a_gpu_passes_hold_what_one_lane_has_shown_to_fit(recipe: Path) -> None:
    job = job_of(recipe)
    items = load_prepared(Path(job.data["tiny_recall"]))["train"]
    measured = probe.TaskProbe(load_model(Path(job.base_path)), 1.0, job.runs, items, job.engine, torch.device("cuda"))
    (batch,) = measured.batches.longest
    tokens = 8 * max(len(item.choices[item.answer]) for item in batch)
    measured.fit_passes(Point(1, 1.0, 1000 + 50 * tokens), 1000, 1000 + 50 * 5000)
    assert measured.tokens == int(FILLED * 5000)
    narrow = probe.TaskProbe(load_model(Path(job.base_path)), 1.0, job.runs, items, job.engine, CPU)
    narrow.fit_passes(Point(1, 1.0, 10**9), 0, 1)
    assert narrow.tokens == "auto"
