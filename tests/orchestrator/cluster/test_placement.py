"""Where workers go: on one node where one has room, and told where none has."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.cluster.placement import (
    bundle_of,
    cluster_words,
    concurrent_trainers,
    placement_remark,
    resources_of,
    strategy,
    words_of,
)
from orchestrator.errors import InputError
from orchestrator.recipe.cluster_section import ClusterSpec


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


@pytest.mark.parametrize(
    ("nodes", "values", "trainers"),
    [
        ([{"CPU": 3.0}] * 2, {"cpus_per_worker": 2}, 2),  # six CPUs, but two of them are left over on each node
        ([{"CPU": 3.0}] * 4, {"cpus_per_worker": 2, "workers": 2}, 2),  # one worker per node
        ([{"CPU": 8.0, "GPU": 2.0}], {"gpus_per_worker": 0.5}, 4),
        ([{"CPU": 8.0, "GPU": 1.0}], {"gpus_per_worker": 0.3}, 3),
        ([{"CPU": 8.0, "disk": 1.0}, {"CPU": 8.0}], {"resources_per_worker": {"disk": 0.5}}, 2),
    ],
)
def test_trainers_are_counted_node_by_node(
    nodes: list[dict[str, float]], values: dict[str, Any], trainers: int
) -> None:
    assert concurrent_trainers(nodes, spec(**values)) == trainers


def test_a_worker_reserves_custom_resources_too_and_they_are_told() -> None:
    cluster = spec(gpus_per_worker=0.5, resources_per_worker={"disk": 2})
    assert bundle_of(cluster) == {"CPU": 1.0, "GPU": 0.5, "disk": 2.0}
    assert words_of(cluster) == "1 workers of 1 CPUs, 2 disk and 0.5 GPUs"
    with pytest.raises(ValidationError, match=r"CPU has a key of its own: cpus_per_worker"):
        spec(resources_per_worker={"CPU": 1})
    with pytest.raises(ValidationError, match=r"Take gpus_per_worker: 1, or workers: 1"):
        spec(gpus_per_worker=0.5, workers=2)
    assert (spec(gpus_per_worker=0.5).gpus_per_worker, spec(gpus_per_worker=1, workers=2).workers) == (0.5, 2)


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


def test_what_the_cluster_has_is_told_in_words() -> None:
    nodes = [
        {"Alive": True, "Resources": SMALL},
        {"Alive": True, "Resources": {}},
        {"Alive": False, "Resources": LARGE},
    ]
    assert cluster_words(nodes, {"CPU": 3.0}) == "1 node with 4 CPUs and 1 GPUs, of which 3 CPUs and 0 GPUs are free"
    assert cluster_words(nodes[1:], {}) == "no node with CPUs"


def test_dead_nodes_do_not_count() -> None:
    nodes = [{"Alive": True, "Resources": SMALL}, {"Alive": False, "Resources": LARGE}, {"Alive": True}]
    assert resources_of(nodes) == [SMALL, {}]
