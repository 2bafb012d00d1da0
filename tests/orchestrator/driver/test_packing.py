"""How wide packs are, and what a cluster is given: decided without a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cluster.cluster import Failures, Job, Train
from orchestrator.driver.packing import MeasureWidths, PackWidths, train_in_packs
from orchestrator.driver.prepare import ReadySweep
from orchestrator.files import write_json
from orchestrator.plan.runs import PlannedRun
from orchestrator.store.sweep_folder import SweepFolder
from tests.helpers.ready import ready_sweep

TASKS = ("tiny_recall", "tiny_above")
TPE = ("optim.lr=[1.0e-3, 5.0e-3]", "search={kind: tpe, trials: 4, batch: 2}")


class Cluster:
    """Measures what it is told to, fails the packs that it is told to, and keeps what it is given."""

    def __init__(self, measured: dict[str, int] | Exception, concurrent: int = 1) -> None:
        self.measured, self.concurrent, self.calls, self.jobs = measured, concurrent, list[Any](), list[Any]()
        self.failing: set[str] = set()

    def call(self, function: Callable[[Path], Any], argument: Path) -> Any:
        assert isinstance(function, MeasureWidths)
        self.calls.append((function.job, argument))
        if isinstance(self.measured, Exception):
            raise self.measured
        return self.measured

    def run_packs(self, jobs: Sequence[Job], train: Train) -> Failures:
        self.jobs += jobs
        return {job.pack.name: "no memory left" for job in jobs if job.pack.name in self.failing}

    def close(self) -> None:
        pass


def widths_of(ready: ReadySweep, lines: list[str]) -> PackWidths:
    return PackWidths(ready, SweepFolder.of(ready.spec), lines.append)


def test_a_number_in_the_recipe_is_the_width_of_every_task_and_nothing_is_measured(tmp_path: Path) -> None:
    ready, cluster = ready_sweep(tmp_path, "cluster.pack=3"), Cluster({})
    assert widths_of(ready, []).of(ready.runs, cluster, 1) == dict.fromkeys(TASKS, 3)
    assert cluster.calls == []


@pytest.mark.parametrize("pack", ["3", "auto"])
def test_from_the_second_attempt_on_each_run_is_trained_alone(tmp_path: Path, pack: str) -> None:
    ready, cluster = ready_sweep(tmp_path, f"cluster.pack={pack}"), Cluster({"tiny_recall": 4, "tiny_above": 4})
    widths = widths_of(ready, [])
    widths.of(ready.runs, cluster, 1)
    assert widths.of(ready.runs, cluster, 2) == dict.fromkeys(TASKS, 1)


def test_nothing_is_measured_where_each_run_has_a_trainer(tmp_path: Path) -> None:
    ready = ready_sweep(tmp_path, "cluster.pack=auto")
    cluster = Cluster({"tiny_recall": 4}, concurrent=len(ready.runs))
    assert widths_of(ready, []).of(ready.runs, cluster, 1) == dict.fromkeys(TASKS, 1)
    assert cluster.calls == []


def test_a_measured_width_is_said_and_a_task_that_was_not_measured_is_trained_run_by_run(tmp_path: Path) -> None:
    ready, cluster, lines = ready_sweep(tmp_path, "cluster.pack=auto"), Cluster({"tiny_recall": 4}), list[str]()
    assert widths_of(ready, lines).of(ready.runs, cluster, 1) == {"tiny_recall": 4, "tiny_above": 1}
    assert lines == ["measuring how many runs to train together", "runs per pack, at most: tiny_recall 4"]
    ((job, place),) = cluster.calls
    assert (job.runs, job.trainers, job.workers, place) == (ready.runs, 1, 1, SweepFolder.of(ready.spec).path)


@pytest.mark.parametrize(("words", "times"), [((), 1), (TPE, 2)])
def test_later_rounds_take_the_measured_widths_unless_they_have_other_settings(
    tmp_path: Path, words: tuple[str, ...], times: int
) -> None:
    ready, cluster = ready_sweep(tmp_path, "cluster.pack=auto", *words), Cluster({"tiny_recall": 4, "tiny_above": 2})
    widths = widths_of(ready, [])
    first, second = (widths.of(ready.runs, cluster, 1) for _ in range(2))
    assert first == second == {"tiny_recall": 4, "tiny_above": 2}
    assert len(cluster.calls) == times


def test_a_measurement_that_fails_costs_packing_for_this_round_alone(tmp_path: Path) -> None:
    ready, cluster, lines = ready_sweep(tmp_path, "cluster.pack=auto"), Cluster(MemoryError("no room")), list[str]()
    widths = widths_of(ready, lines)
    assert widths.of(ready.runs, cluster, 1) == dict.fromkeys(TASKS, 1)
    assert lines[-1] == "measuring failed (no room); every run is trained alone"
    cluster.measured = dict.fromkeys(TASKS, 2)
    assert widths.of(ready.runs, cluster, 1) == dict.fromkeys(TASKS, 2)


def test_a_pack_that_fails_is_the_error_of_each_of_its_runs_and_of_no_other_run(tmp_path: Path) -> None:
    ready, cluster = ready_sweep(tmp_path, "cluster.pack=2"), Cluster({})
    cluster.failing = {"a1-p0001"}
    folder = SweepFolder.of(ready.spec)
    errors = train_in_packs(ready, folder, cluster, ready.runs, widths_of(ready, []), attempt=1)
    (failed,) = [job.pack for job in cluster.jobs if job.pack.name == "a1-p0001"]
    assert len(cluster.jobs) == 4
    assert errors == {run.key: "no memory left" for run in failed.runs}


def test_only_a_task_whose_base_scores_are_missing_is_scored_on_the_base(tmp_path: Path) -> None:
    ready, cluster = ready_sweep(tmp_path), Cluster({})
    folder = SweepFolder.of(ready.spec)
    write_json(ready.base_scores(folder, "tiny_above"), {"accuracy": 0.3})
    train_in_packs(ready, folder, cluster, ready.runs, widths_of(ready, []), attempt=1)
    assert [task for job in cluster.jobs for task in job.pack.base_tasks] == ["tiny_recall"]


@pytest.mark.parametrize(("words", "width"), [((), 8), (("optim.micro_batch=32", "optim.global_batch=32"), 1)])
def test_a_short_sweep_on_cpus_takes_the_assumed_widths(tmp_path: Path, words: tuple[str, ...], width: int) -> None:
    ready, cluster = (
        replace(ready_sweep(tmp_path, "cluster.pack=auto", *words), steps=dict.fromkeys(TASKS, 4)),
        Cluster({}),
    )
    assert widths_of(ready, []).of(ready.runs, cluster, 1) == dict.fromkeys(TASKS, width)
    assert cluster.calls == []


def test_a_short_sweep_on_gpus_is_measured(tmp_path: Path) -> None:
    ready = replace(
        ready_sweep(tmp_path, "cluster.pack=auto", "cluster.gpus_per_worker=1"), steps=dict.fromkeys(TASKS, 4)
    )
    assert widths_of(ready, []).of(ready.runs, Cluster({"tiny_recall": 2}), 1) == {"tiny_recall": 2, "tiny_above": 1}


def test_a_short_round_of_a_long_sweep_takes_the_measured_widths(tmp_path: Path) -> None:
    words = ("cluster.pack=auto", "optim.lr=[1.0e-3, 5.0e-3]", "search={kind: racing, first: 2}", "seeds=[0, 1, 2]")
    ready, cluster = ready_sweep(tmp_path, *words), Cluster({"tiny_recall": 2, "tiny_above": 1})
    widths = widths_of(ready, [])
    assert widths.of(ready.runs, cluster, 1) == {"tiny_recall": 2, "tiny_above": 1}
    assert widths.of(ready.runs[:3], cluster, 1) == {"tiny_recall": 2, "tiny_above": 1}
    assert len(cluster.calls) == 1


def packs_of(ready: ReadySweep, cluster: Cluster, missing: Sequence[PlannedRun], attempt: int = 1) -> list[list[str]]:
    """The run keys of the packs in which these runs are trained."""
    cluster.jobs.clear()
    train_in_packs(ready, SweepFolder.of(ready.spec), cluster, missing, widths_of(ready, []), attempt)
    return [[run.key for run in job.pack.runs] for job in cluster.jobs]


def end(ready: ReadySweep, run: PlannedRun) -> None:
    SweepFolder.of(ready.spec).run(run.key).begin({}).diverge({})


def test_a_later_start_puts_the_same_runs_together_with_empty_lanes_for_runs_that_have_ended(tmp_path: Path) -> None:
    ready, cluster = ready_sweep(tmp_path, "cluster.pack=3"), Cluster({})
    before = packs_of(ready, cluster, ready.runs)
    end(ready, ready.runs[0])
    assert packs_of(ready, cluster, ready.runs[1:]) == before
    assert packs_of(ready, cluster, ready.runs[1:], attempt=2) == [[run.key] for run in ready.runs[1:]]
    assert packs_of(ready, cluster, ready.runs[1:]) == [[run.key] for run in ready.runs[1:]]  # as it was last


@pytest.mark.parametrize("change", ["width", "trainers", "runs"])
def test_other_packs_are_formed_where_width_trainers_or_runs_are_others(tmp_path: Path, change: str) -> None:
    ready, cluster = ready_sweep(tmp_path, "cluster.pack=3"), Cluster({})
    before = packs_of(ready, cluster, ready.runs)
    if change == "width":
        ready = ready_sweep(tmp_path, "cluster.pack=4")
    elif change == "trainers":
        cluster = Cluster({}, concurrent=3)
    missing = ready.runs[1:] if change == "runs" else ready.runs  # a run that is asked for no more, and has not ended
    after = packs_of(ready, cluster, missing)
    assert after != before
    assert sorted(key for pack in after for key in pack) == sorted(run.key for run in missing)
