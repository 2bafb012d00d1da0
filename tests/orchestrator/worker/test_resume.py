"""A pack that is broken off at any step goes on to the same bits, whatever was being written at the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.control import RunEnd
from orchestrator.data.prepared import load_prepared
from orchestrator.driver.prepare import make_ready
from orchestrator.errors import StoppedError
from orchestrator.plan.packs import Pack
from orchestrator.plan.runs import expand, keyed
from orchestrator.recipe.read import read_recipe
from orchestrator.search.halving import Contest, Halving
from orchestrator.store.run_folder import RunFolder
from orchestrator.worker import pack_trainer, saver
from orchestrator.worker.jobs import PackJob
from orchestrator.worker.pack_trainer import PackTrainer
from orchestrator.worker.run_in_training import RunInTraining
from tests.helpers.sweeps import unmeasured

CPU = torch.device("cpu")
WORDS = (
    "engine.checkpoint_seconds=60",
    "methods=[{name: d2lora, rank: 2, alpha: 4, dropout: 0.1}, {name: lora, rank: 4, alpha: 8}, {name: dora, rank: 2}]",
)


class KilledError(Exception):
    """What stands for the end of the process."""


class Watched:
    """A control that breaks off or stops the trainer after ``at`` steps of the pack."""

    def __init__(self, at: int | None = None, stops: bool = False) -> None:
        self.at, self.stops, self.stopping, self.steps, self.ends = at, stops, False, 0, list[RunEnd]()

    def progress(self, steps: Mapping[str, int]) -> None:
        self.steps += 1
        self.stopping = self.stops and self.steps == self.at
        if not self.stops and self.steps == self.at:
            raise KilledError

    def ended(self, end: RunEnd) -> None:
        self.ends.append(end)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every second step be a time to save."""
    steps = count()

    class Now(saver.PackSaver):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, clock=lambda: 30.0 * next(steps))

    monkeypatch.setattr("orchestrator.worker.pack_trainer.PackSaver", Now)


@pytest.fixture
def job(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackJob:
    """One pack of six runs: three of six steps, three of four, so that lanes leave at different steps."""
    spec = read_recipe(recipe, [*WORDS, "seeds=[0]"])
    ready = make_ready(spec, recipe.parent / ".cache", lambda _: None)
    runs = keyed(expand(spec), ready.base.fingerprint, ready.fingerprints)

    def prepared(path: Path) -> dict[str, Any]:
        splits = load_prepared(path)
        return dict(splits) | ({"train": splits["train"][:32]} if "above" in path.name else {})

    monkeypatch.setattr("orchestrator.worker.pack_trainer.load_prepared", prepared)
    return PackJob(
        folder=str(tmp_path / "sweep"),
        base_path=str(ready.base.path),
        base_fingerprint=ready.base.fingerprint,
        data=ready.data_files,
        engine=spec.trained_by,
        pack=Pack("p", tuple(runs), ()),
    )


def at(job: PackJob, place: Path) -> PackJob:
    return replace(job, folder=str(place))


def results(job: PackJob) -> dict[str, tuple[bytes, list[dict[str, Any]], dict[str, Any]]]:
    """By run key: the adapter's bytes, the logged steps without their times, and the row without measured times."""
    ends = {}
    for run in job.pack.runs:
        folder = RunFolder(Path(job.folder) / "runs" / run.key)
        steps = [{name: value for name, value in row.items() if name != "time"} for row in folder.metrics()]
        folder.verify()
        (adapter,) = folder.artefact("adapter").glob("*.safetensors")
        ends[run.key] = adapter.read_bytes(), steps, unmeasured(folder.row())
    return ends


def resumed(job: PackJob) -> list[list[int]]:
    return [RunFolder(Path(job.folder) / "runs" / run.key).row()["resumed"] for run in job.pack.runs]


def broken_off(job: PackJob, *steps: int, stops: bool = False) -> int:
    """Train with an end after each number of steps, then to the end; return how many steps were done in all.

    A trainer that is told to stop after a step does one step more.
    """
    total = 0
    for step in steps:
        control = Watched(step, stops)
        with pytest.raises(StoppedError if stops else KilledError):
            PackTrainer()(job, CPU, control)
        total += control.steps
    control = Watched()
    PackTrainer()(job, CPU, control)
    return total + control.steps


@pytest.fixture
def strike() -> Callable[[pytest.MonkeyPatch, str, int], None]:
    """Return a function that lets the trainer die at the n-th of its saves, scorings, ends, or next to one of them."""

    def arm(patch: pytest.MonkeyPatch, moment: str, number: int) -> None:
        calls = count(1)

        def struck(call: Callable[..., Any], after: bool) -> Callable[..., Any]:
            def counted(*args: Any, **words: Any) -> Any:
                last = next(calls) == number
                if last and not after:
                    raise KilledError
                outcome = call(*args, **words)
                if last:
                    raise KilledError
                return outcome

            return counted

        place, name, after = {
            "before a save": (saver.PackSaver, "save", False),
            "after a save": (saver.PackSaver, "wait", True),
            "in a scoring": (pack_trainer, "score_items", False),
            "before an end": (RunInTraining, "commit", False),
            "after an end": (RunInTraining, "_report", True),
        }[moment]
        patch.setattr(place, name, struck(getattr(place, name), after))

    return arm


MOMENTS = [
    ("before a save", 3), ("after a save", 4), ("in a scoring", 1), ("in a scoring", 3), ("before an end", 2),
    ("after an end", 1), ("after an end", 2), ("after an end", 4), ("after an end", 5),
]  # fmt: skip


@pytest.mark.parametrize(("moment", "number"), MOMENTS)
def test_a_pack_that_dies_around_a_save_a_scoring_or_an_end_ends_as_if_it_had_not(
    job: PackJob,
    tmp_path: Path,
    often: None,
    strike: Callable[[pytest.MonkeyPatch, str, int], None],
    moment: str,
    number: int,
) -> None:
    PackTrainer()(job, CPU)
    other = at(job, tmp_path / "other")
    with pytest.MonkeyPatch.context() as patch:
        strike(patch, moment, number)
        with pytest.raises(KilledError):
            PackTrainer()(other, CPU)
    PackTrainer()(other, CPU)
    assert results(other) == results(job)


@pytest.mark.parametrize(("step", "stops"), [(3, False), (4, False), (5, False), (4, True)])
def test_a_pack_that_is_broken_off_ends_as_if_it_had_not_been(
    job: PackJob, tmp_path: Path, often: None, step: int, stops: bool
) -> None:
    PackTrainer()(job, CPU)
    other = at(job, tmp_path / "other")
    broken_off(other, step, stops=stops)
    assert results(other) == results(job)
    assert any(resumed(other))


def test_a_pack_that_is_broken_off_again_and_again_does_each_step_once_if_it_is_told_to_stop(
    job: PackJob, tmp_path: Path
) -> None:
    PackTrainer()(job, CPU)
    other = at(job, tmp_path / "other")
    assert broken_off(other, 1, 1, stops=True) == 6
    assert results(other) == results(job)
    assert resumed(other) == [[2, 4]] * 6


def test_a_run_says_what_made_it_in_row_and_manifest_and_each_end_is_reported(job: PackJob) -> None:
    control = Watched()
    PackTrainer()(replace(job, commit="0123456789 with changes", micro_batch=2), CPU, control)
    for run, end in zip(sorted(job.pack.runs, key=lambda run: run.key), sorted(control.ends, key=key_of), strict=True):
        row = RunFolder(Path(job.folder) / "runs" / run.key).row()
        maker = row["made_by"]
        assert (maker["commit"], maker["engine"], maker["world"]) == ("0123456789 with changes", "plain", 1)
        assert (maker["pack"], maker["attempt"], maker["versions"]["torch"]) == ("p", 1, torch.__version__)
        assert (len(maker["code"]), maker["micro_batch"]) == (12, 2)
        assert (end.key, end.status, end.attempt) == (run.key, "committed", 1)


def key_of(end: RunEnd) -> str:
    return end.key


def test_a_run_is_judged_at_a_rung_that_it_had_passed_under_another_search(job: PackJob) -> None:
    with pytest.raises(StoppedError):
        PackTrainer()(job, CPU, Watched(2, stops=True))
    keys = tuple(run.key for run in job.pack.runs)
    judged = replace(job, contest=Contest(Halving(2, 2), dict.fromkeys(keys, keys)))
    PackTrainer()(judged, CPU)
    ends = [RunFolder(Path(job.folder) / "runs" / key) for key in keys]
    assert {end.ended() for end in ends} == {"committed", "stopped"}
    assert [end.row()["resumed"] for end in ends] == [[]] * 6  # the only checkpoint was after the rung
