"""The project on three hosts, as a user meets it: `ray up`, jobs across two nodes, lost and added nodes, `ray down`.

`make cluster-test` runs it. The tests share one cluster and come in this order.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import UserCluster
from tests.cluster.hosts import missing
from tests.helpers.faults.kills import job_words, steps_done
from tests.helpers.faults.nothing_lost import assert_nothing_lost, resumed
from tests.helpers.places import ROOT

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

ACROSS = ("cluster.kind=ray", "cluster.workers=2", "engine.kind=zero", "engine.stage=2", "tracking.uri=none")
LONG = ("tasks=[tiny_recall]", "seeds=[0]", "engine.checkpoint_seconds=2", "optim.epochs=60", "champions=false")
SECONDS = 240


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UserCluster]:
    """A cluster after `ray up`."""
    made = UserCluster(tmp_path_factory.mktemp("hosts"))
    try:
        made.up()
        yield made
    finally:
        made.down()


def sweep_of(recipe: Path) -> Path:
    return recipe.parent / "sweeps" / "small"


def on_one_machine(recipe: Path, *words: str) -> None:
    """Run the sweep with a Ray of this machine alone."""
    told = subprocess.run(
        [sys.executable, *job_words(recipe, *words)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout[-5000:] + told.stderr[-5000:]


def saved(sweep: Path) -> int:
    """Return how many runs have a checkpoint."""
    return len({path.parents[3] for path in sweep.glob("runs/*/attempt-*/checkpoints/*/CHECKPOINT.json")})


def wait_until(happened: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}"
        time.sleep(0.5)


def test_a_sweep_across_two_nodes_is_that_of_one_machine(cluster: UserCluster, recipes: dict[str, Path]) -> None:
    on_one_machine(recipes["one"], *ACROSS)
    told = cluster.submit("across", str(recipes["three"]), *ACROSS)
    assert "no node has room for 2 workers" in told  # the workers lie on two nodes, and the user is told
    assert_nothing_lost(sweep_of(recipes["three"]), sweep_of(recipes["one"]))


def test_a_node_that_is_lost_and_comes_back_costs_no_run(cluster: UserCluster, recipes: dict[str, Path]) -> None:
    words = ("cluster.kind=ray", "tracking.uri=none", "cluster.pack=1", *LONG)
    on_one_machine(recipes["one"], *words, "cluster.kind=local")
    cluster.submit("lost", str(recipes["three"]), *words, wait=False)
    sweep = sweep_of(recipes["three"])
    wait_until(lambda: saved(sweep) == 2, "a checkpoint of each run")
    cluster.hosts.kill(3)
    cluster.hosts.start(3)
    wait_until(lambda: "succeeded" in cluster.job("status", "lost"), "the end of the job")
    assert_nothing_lost(sweep, sweep_of(recipes["one"]))
    assert sorted(map(len, resumed(sweep).values())) == [0, 1]  # one run was on the host that vanished
    cluster.wait_for_nodes(3)


def test_a_stopped_job_goes_on_when_it_is_submitted_again(cluster: UserCluster, recipes: dict[str, Path]) -> None:
    words = (*ACROSS, *LONG)
    on_one_machine(recipes["one"], *words)
    patient = {"RAY_JOB_STOP_WAIT_TIME_S": "30"}
    cluster.submit("stopped", str(recipes["three"]), *words, wait=False, **patient)
    sweep = sweep_of(recipes["three"])
    wait_until(lambda: sweep.exists() and steps_done(sweep) > 60, "steps")
    cluster.job("stop", "stopped")
    assert "the same command goes on" in cluster.job("logs", "stopped")
    cluster.submit("again", str(recipes["three"]), *words, **patient)
    assert_nothing_lost(sweep, sweep_of(recipes["one"]))
    assert all(len(steps) == 1 for steps in resumed(sweep).values())
