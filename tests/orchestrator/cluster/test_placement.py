"""Where workers go: on one node where one has room, and told where none has."""

from __future__ import annotations

import re
from typing import Any

import pytest

from orchestrator.cluster.placement import concurrent_trainers, placement_remark, resources_of, strategy
from orchestrator.errors import InputError
from orchestrator.recipe.sections import ClusterSpec


def spec(**values: Any) -> ClusterSpec:
    return ClusterSpec(**values)


SMALL, LARGE = {"CPU": 4.0, "GPU": 1.0}, {"CPU": 16.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("nodes", "workers", "gpus", "where", "trainers"),
    [
        ([LARGE], 2, 1, "STRICT_PACK", 2),
        ([SMALL, SMALL], 2, 1, "PACK", 1),  # only over both nodes
        ([SMALL, SMALL, LARGE], 2, 1, "STRICT_PACK", 2),  # six GPUs, but four of them together
        ([SMALL, SMALL], 2, 0, "STRICT_PACK", 4),
        ([SMALL, LARGE], 1, 1, "PACK", 5),  # one worker is on one node anyway
        ([{"CPU": 3.0}, {"CPU": 3.0}], 2, 0, "STRICT_PACK", 2),
    ],
)
def test_workers_of_a_trainer_stay_on_one_node_where_one_has_room(
    nodes: list[dict[str, float]], workers: int, gpus: int, where: str, trainers: int
) -> None:
    cluster = spec(workers=workers, gpus_per_worker=gpus)
    assert strategy(nodes, cluster) == where
    assert concurrent_trainers(nodes, cluster) == trainers
    assert concurrent_trainers(nodes, spec(workers=workers, gpus_per_worker=gpus, max_concurrent=1)) == 1
    assert (placement_remark(nodes, cluster) is not None) == (where == "PACK" and workers > 1)


def test_what_is_told_of_scattered_workers_helps() -> None:
    remark = placement_remark([SMALL, SMALL], spec(workers=2, gpus_per_worker=1))
    assert remark is not None
    assert "no node has room for 2 workers of 1 CPUs and 1 GPUs" in remark
    assert placement_remark([SMALL, SMALL], spec(workers=1, gpus_per_worker=1)) is None  # fewer workers
    assert placement_remark([SMALL, LARGE], spec(workers=2, gpus_per_worker=1)) is None  # a larger node


def test_a_cluster_without_room_is_refused_with_its_numbers() -> None:
    wanted = re.escape("2 workers of 1 CPUs and 1 GPUs do not fit into 4 CPUs and 1 GPUs.")
    with pytest.raises(InputError, match=wanted):
        concurrent_trainers([SMALL], spec(workers=2, gpus_per_worker=1))
    with pytest.raises(InputError, match="0 CPUs"):
        concurrent_trainers([], spec())


def test_dead_nodes_do_not_count() -> None:
    nodes = [{"Alive": True, "Resources": SMALL}, {"Alive": False, "Resources": LARGE}, {"Alive": True}]
    assert resources_of(nodes) == [SMALL, {}]
