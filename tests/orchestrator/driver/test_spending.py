"""A sweep with a budget begins only packs that it pays for, keeps account over starts, and goes on with more money."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.cluster.cluster import Failures, Job, Train
from orchestrator.cluster.local import LocalCluster
from orchestrator.driver import spending as module
from orchestrator.driver.packing import PackWidths, train_in_packs
from orchestrator.driver.prepare import ReadySweep
from orchestrator.driver.spending import Spending
from orchestrator.errors import InputError
from orchestrator.files import read_json, write_json
from orchestrator.plan.budget import left_out
from orchestrator.store.sweep_folder import SweepFolder
from tests.helpers.ready import ready_sweep
from tests.helpers.sweeps import RUNS, rows_of, run

PRICED = ("cluster.price_per_hour=3600", "cluster.pack=1", "champions=false")  # a worker-second costs one dollar


class Cluster(LocalCluster):
    """Commits every run, and lets ten seconds pass per pack and trainer."""

    def __init__(self, folder: SweepFolder, concurrent: int = 1) -> None:
        super().__init__()
        self.folder, self.concurrent, self.now, self.calls = folder, concurrent, 0.0, list[list[str]]()
        self.news.trainers = concurrent

    def run_packs(self, jobs: Sequence[Job], train: Train) -> Failures:
        self.calls.append([job.pack.name for job in jobs])
        for job in jobs:
            for one in job.pack.runs:
                write_json(self.folder.run(one.key).path / "COMMITTED.json", {"row": {"train_seconds": 5.0}})
        self.now += 10.0 * len(jobs) / self.concurrent
        return {}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def trained(ready: ReadySweep, cluster: Cluster) -> dict[str, str]:
    widths = PackWidths(ready, cluster.folder, print)
    widths.spending = Spending(ready, cluster.folder, print, lambda: cluster.now)
    missing = [one for one in ready.runs if cluster.folder.run(one.key).ended() is None]
    return train_in_packs(ready, cluster.folder, cluster, missing, widths, 1)


@pytest.mark.parametrize(("concurrent", "workers"), [(1, 1), (2, 1), (1, 2)])
def test_packs_begin_while_the_budget_lasts_and_the_rest_is_left_out(
    tmp_path: Path, concurrent: int, workers: int
) -> None:
    words = ("budget_usd=45", f"cluster.workers={workers}", "engine.kind=auto")
    ready = ready_sweep(tmp_path, *PRICED, *words)
    folder = SweepFolder.of(ready.spec)
    cluster = Cluster(folder, concurrent)
    errors = trained(ready, cluster)
    begun = sum(map(len, cluster.calls))
    assert begun == (4 if workers == 1 else 2)  # at ten dollars a worker and pack
    assert len(cluster.calls[0]) == concurrent  # nothing was measured yet
    assert len(errors) == RUNS - begun
    assert left_out(errors.values())
    assert read_json(folder.spent) == {"worker_seconds": pytest.approx(40.0)}


def test_the_same_sweep_with_more_money_goes_on_from_its_account(tmp_path: Path) -> None:
    ready = ready_sweep(tmp_path, *PRICED, "budget_usd=25")
    cluster = Cluster(SweepFolder.of(ready.spec))
    assert len(trained(ready, cluster)) == 6
    again = ready_sweep(tmp_path, *PRICED, "budget_usd=25")
    cluster.calls.clear()
    assert len(trained(again, cluster)) == 6
    assert cluster.calls == []
    more = ready_sweep(tmp_path, *PRICED, "budget_usd=200")
    assert trained(more, cluster) == {}
    assert read_json(cluster.folder.spent) == {"worker_seconds": pytest.approx(80.0)}


def test_trainers_that_come_with_later_nodes_are_paid_for_from_then_on(tmp_path: Path) -> None:
    """On a cluster that starts with no node, the number of trainers at the begin of a portion says nothing."""
    ready = ready_sweep(tmp_path, *PRICED, "budget_usd=1000")
    spending = Spending(ready, SweepFolder.of(ready.spec), print, clock := Clock())
    trainers = [0]
    with spending.metered(lambda: trainers[0]):
        clock.now += 10.0  # no node is up yet
        trainers[0] = 8
        clock.now += 10.0
    assert spending.worker_seconds == pytest.approx(8 * 20.0)  # at most one interval too much, never too little
    assert read_json(SweepFolder.of(ready.spec).spent) == {"worker_seconds": pytest.approx(160.0)}


def test_what_a_cluster_holds_is_looked_at_while_packs_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_SECONDS", 0.01)
    ready = ready_sweep(tmp_path, *PRICED, "budget_usd=1000")
    spending, seen = Spending(ready, SweepFolder.of(ready.spec), print), list[int]()

    def trainers() -> int:
        seen.append(1)
        return 1

    with spending.metered(trainers):
        deadline = time.monotonic() + 5
        while len(seen) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(seen) >= 5


def test_runs_from_before_the_account_count_by_their_rows(tmp_path: Path) -> None:
    ready = ready_sweep(tmp_path, *PRICED, "budget_usd=30")
    folder = SweepFolder.of(ready.spec)
    for one in ready.runs[:2]:
        write_json(
            folder.run(one.key).path / "COMMITTED.json", {"attempt": 1, "row": {"train_seconds": 5.0}, "files": {}}
        )
    assert Spending(ready, folder, print).worker_seconds == 10.0


def test_without_a_budget_all_packs_go_in_one_call_and_nothing_is_written(tmp_path: Path) -> None:
    ready = ready_sweep(tmp_path, *PRICED)
    cluster = Cluster(SweepFolder.of(ready.spec))
    assert trained(ready, cluster) == {}
    assert [len(call) for call in cluster.calls] == [RUNS]
    assert not cluster.folder.spent.exists()


def test_a_pack_that_fails_is_paid_for_too(tmp_path: Path) -> None:
    ready = ready_sweep(tmp_path, *PRICED, "budget_usd=15")
    folder = SweepFolder.of(ready.spec)

    class Failing(Cluster):
        def run_packs(self, jobs: Sequence[Job], train: Train) -> Failures:
            super().run_packs(jobs, train)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(ready, Failing(folder))
    assert read_json(folder.spent) == {"worker_seconds": pytest.approx(10.0)}


def test_trainers_on_nodes_that_come_in_the_middle_are_paid_for(tmp_path: Path) -> None:
    ready = ready_sweep(tmp_path, *PRICED, "budget_usd=90")
    folder = SweepFolder.of(ready.spec)

    class Growing(Cluster):
        def run_packs(self, jobs: Sequence[Job], train: Train) -> Failures:
            self.news.trainers = 4  # of which the driver knew nothing when the portion began
            return super().run_packs(jobs, train)

    cluster = Growing(folder)
    errors = trained(ready, cluster)
    assert left_out(errors.values())
    assert read_json(folder.spent) == {"worker_seconds": pytest.approx(40.0 * sum(map(len, cluster.calls)))}


def test_a_sweep_says_what_it_left_out_and_the_same_command_with_more_money_finishes(recipe: Path) -> None:
    words = ("tasks=[tiny_recall]", "cluster.price_per_hour=3600", "champions=false", "tracking.uri=none")
    code, output, folder = run(recipe, *words, "budget_usd=0.001")
    assert code == 1
    assert "budget: 0.001 USD at 3600 per worker and hour; 0.00 USD are spent" in output
    assert output.count("left out, because budget_usd=0.001 would be exceeded") == 1
    rows = rows_of(folder)
    committed = [row for row in rows if row["status"] == "committed"]
    assert 0 < len(committed) < len(rows)
    assert not list(folder.glob("runs/*.error.txt"))
    code, output, _ = run(recipe, *words, "budget_usd=1.0e+6")
    assert code == 0, output
    assert f"{len(committed)} done already" in output
    assert {row["status"] for row in rows_of(folder)} == {"committed"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("budget_usd=5", "cluster.gpu=a100-80gb"), "give gpus_per_worker=1, or price_per_hour instead of gpu"),
        (("budget_usd=5",), "budget_usd=5 needs the price of a worker's hour: give cluster.price_per_hour"),
        (
            ("budget_usd=5", "cluster.gpu=a100", "cluster.gpus_per_worker=1"),
            "Unknown accelerator 'a100'. Did you mean 'a100-80gb'",
        ),
        (
            ("budget_usd=5", "cluster.gpu=t4-16gb", "cluster.gpus_per_worker=1", "cluster.spot=true"),
            "The price table has no spot price of t4-16gb",
        ),
    ],
)
def test_a_budget_without_a_price_is_refused_before_anything_is_trained(
    recipe: Path, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(recipe, "tracking.uri=none", *words)
    assert run(recipe, "tracking.uri=none", "champions=false", "tasks=[tiny_recall]", "methods=[lora]", "seeds=[0]",
               "budget_usd=1e6", "cluster.price_per_hour=1")[0] == 0  # the remedy  # fmt: skip
