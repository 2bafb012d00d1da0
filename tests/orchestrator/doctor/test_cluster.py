"""A cluster is examined from its driver: nodes that differ, see another folder or are slow are told with the remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.doctor.check import Check
from orchestrator.doctor.cluster import access, cluster, exchange, from_nodes, trainers
from orchestrator.errors import InputError
from orchestrator.recipe.cluster_section import ClusterSpec
from tests.orchestrator.doctor.machines import machine


class Nodes:
    """Two nodes beside the driver's, whose processes are calls in this one."""

    def __init__(self, **given: Any) -> None:
        self.nodes = {"a": "10.0.0.2", "b": "10.0.0.3"}
        self.here = "10.0.0.1"
        self.gpus: dict[str, float] = {}
        self.state: str | None = None
        self.machines = [machine(1), machine(2), machine(3)]
        self.offsets = {"10.0.0.2": (0.1, 0.01), "10.0.0.3": (0.2, 0.01)}
        self.seconds, self.lost = 0.01, False
        self.trainers = given.get("nodes", self.nodes)
        self.__dict__.update(given)

    def on_other_nodes(self, function: Callable[[Path], Any], argument: Path) -> list[Any]:
        return [function(argument) for _ in self.nodes]

    def facts(self, gather: Callable[[Path], Any]) -> list[Any]:
        if self.lost:
            raise InputError("The nodes 10.0.0.3 have not answered within 120 s. Look at them with `ray status`.")
        return list(self.machines)

    def state_answers(self) -> str | None:
        return self.state

    def clocks(self) -> dict[str, tuple[float, float]]:
        return self.offsets

    def exchange(self, megabytes: int, gpus: bool) -> dict[str, float]:
        return {"seconds": self.seconds, "bytes": megabytes * 2**20, "nodes": float(len(self.nodes))}


def statuses(checks: list[Check]) -> dict[str, str]:
    return {check.check: check.status for check in checks}


def test_a_cluster_in_order_is_one_line_per_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    checks = list(cluster(Nodes(), tmp_path, 0))
    assert statuses(checks) == dict.fromkeys(
        ("auth", "state", "versions", "room", "names", "gpus", "storage", "clocks", "exchange"), "ok"
    ), checks


def test_a_node_that_does_not_answer_leaves_the_other_checks(tmp_path: Path) -> None:
    checks = list(cluster(Nodes(lost=True, offsets={"10.0.0.2": (99.0, 0.1)}), tmp_path, 0))
    assert statuses(checks)["versions"] == "fail"
    assert statuses(checks)["clocks"] == "fail"
    assert statuses(checks)["storage"] == "ok"


def test_a_node_that_sees_another_folder_is_a_failure(tmp_path: Path) -> None:
    class Elsewhere(Nodes):
        def on_other_nodes(self, function: Callable[[Path], Any], argument: Path) -> list[Any]:
            return [function(tmp_path / "other")]

    with pytest.raises(InputError, match="Mount one storage at this path on every node"):
        list(from_nodes(Elsewhere(), tmp_path / "shared"))


@pytest.mark.parametrize(
    ("nodes", "status", "said"),
    [
        ([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0, "GPU": 2.0}], "ok", "room for 2 trainers of 2 workers"),
        (
            [{"CPU": 8.0, "GPU": 1.0}],
            "warn",
            "no room for a trainer of 2 workers of 4 CPUs and 1 GPUs; they have 8 CPUs",
        ),
        ([], "warn", "they have 0 CPUs and 0 GPUs"),
    ],
)
def test_what_fits_is_told_before_a_sweep_waits_for_it(nodes: list[dict[str, float]], status: str, said: str) -> None:
    (check,) = trainers(nodes, ClusterSpec(workers=2, cpus_per_worker=4, gpus_per_worker=1))
    assert (check.status, said in check.message) == (status, True), check


@pytest.mark.parametrize(
    ("environment", "status"),
    [({"RAY_AUTH_MODE": "token"}, "ok"), ({"RAY_AUTH_MODE": "disabled"}, "warn"), ({}, "warn")],
)
def test_a_cluster_without_a_token_is_a_warning(environment: dict[str, str], status: str) -> None:
    assert next(iter(access(environment, Nodes()))).status == status


def test_a_state_api_that_is_away_is_a_warning() -> None:
    _, check = access({}, Nodes(state="no dashboard"))
    assert (check.status, "no dashboard" in check.message) == ("warn", True)


@pytest.mark.parametrize(("seconds", "status"), [(0.01, "ok"), (10.0, "warn")])
def test_the_exchange_is_told_with_its_speed(seconds: float, status: str) -> None:
    (check,) = exchange(Nodes(seconds=seconds), False)
    assert check.status == status
    assert "gloo sums 16 MiB over 2 nodes" in check.message
    assert "GB/s" in check.message


def test_nodes_that_are_at_work_are_not_measured() -> None:
    class Busy(Nodes):
        def exchange(self, megabytes: int, gpus: bool) -> None:  # type: ignore[override]
            return None

    (check,) = exchange(Busy(), False)
    assert (check.status, "not measured" in check.message) == ("warn", True)


@pytest.mark.parametrize("with_gpus", [True, False])
def test_the_exchange_is_skipped_with_a_word_where_one_node_can_take_part(with_gpus: bool) -> None:
    (check,) = exchange(Nodes(gpus={"10.0.0.2": 1.0}) if with_gpus else Nodes(nodes={"a": "10.0.0.2"}), with_gpus)
    assert check.status == "ok"
    assert "skipped: 1 node can take part" in check.message


def test_a_head_alone_may_wait_for_its_first_gpu_node(tmp_path: Path) -> None:
    checks = list(cluster(Nodes(nodes={}, trainers={}, machines=[machine(1)]), tmp_path, 1.0))
    assert statuses(checks)["gpus"] == "warn"
    assert "fail" not in statuses(checks).values()
