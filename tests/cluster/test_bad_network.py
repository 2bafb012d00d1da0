"""A network that is slow, loses frames, or is away for half a minute: a sweep ends as on one machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import UserCluster
from tests.cluster.hosts import Hosts, missing
from tests.cluster.test_cluster import ACROSS, LONG, on_one_machine, saved, sweep_of, wait_until
from tests.helpers.faults.nothing_lost import assert_nothing_lost

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.rare,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

BAD = 3  # the number of the host on the bad wire
DELAY, LOSS, CUT_SECONDS = 0.1, 0.05, 30


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UserCluster]:
    """A cluster after `ray up`, of which the third host is on a wire that is still good."""
    folder = tmp_path_factory.mktemp("hosts")
    made = UserCluster(folder, Hosts(folder, net="10.98.9", on_bad_wires=(BAD,)))
    try:
        made.up()
        yield made
    finally:
        made.hosts.disturb(BAD)  # a good wire again, so that `ray down` ends
        made.down()


def test_a_sweep_over_a_slow_wire_that_loses_frames_is_that_of_one_machine(
    cluster: UserCluster, recipes: dict[str, Path]
) -> None:
    words = (*ACROSS, "tasks=[tiny_recall]", "champions=false")
    on_one_machine(recipes["one"], *words)
    cluster.hosts.disturb(BAD, delay=DELAY, loss=LOSS)
    cluster.submit("slow", str(recipes["three"]), *words)
    assert_nothing_lost(sweep_of(recipes["three"]), sweep_of(recipes["one"]))


def test_a_wire_that_is_cut_for_half_a_minute_costs_no_run(cluster: UserCluster, recipes: dict[str, Path]) -> None:
    words = ("cluster.kind=ray", "tracking.uri=none", "cluster.pack=1", *LONG)
    on_one_machine(recipes["one"], *words, "cluster.kind=local")
    cluster.submit("cut", str(recipes["three"]), *words, wait=False)
    sweep = sweep_of(recipes["three"])
    wait_until(lambda: saved(sweep) == 2, "a checkpoint of each run")
    cluster.hosts.disturb(BAD, cut=True)
    time.sleep(CUT_SECONDS)
    cluster.hosts.disturb(BAD)
    wait_until(lambda: "succeeded" in cluster.job("status", "cut"), "the end of the job")
    assert_nothing_lost(sweep, sweep_of(recipes["one"]))
