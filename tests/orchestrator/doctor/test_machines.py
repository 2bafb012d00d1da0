"""Each way in which machines differ, are short of something or stand apart is one line with place and remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.doctor.check import Check
from orchestrator.doctor.machines import clocks, gpus, names, room, versions
from tests.orchestrator.doctor.machines import GIB, GPU, VERSIONS, a_room, machine

BUSY, OLD = replace(GPU, free=900), replace(GPU, driver="535")


def only(checks: list[Check]) -> Check:
    (check,) = checks
    return check


def test_machines_that_are_alike_are_one_line_each() -> None:
    two = [machine(1), machine(2)]
    assert only(list(versions(two))).message.endswith("equal on 2 machines")
    assert only(list(names(two))).status == "ok"
    assert only(list(room({one.place: one.room for one in two}))).status == "ok"
    assert only(list(gpus(two, 0, {}))).message == "none here, and none is asked for"


@pytest.mark.parametrize(
    ("changed", "said", "remedy"),
    [
        ({"torch": "2.12.0"}, "torch differs", "constraints.txt"),
        ({"ray": ""}, "ray differs or is missing: 2.60.0 on node-1", "constraints.txt"),
        ({"code": "def"}, "the code of this project differs: abc on node-1", "--working-dir ."),
    ],
)
def test_a_machine_with_another_version_is_named(changed: dict[str, str], said: str, remedy: str) -> None:
    check = only(list(versions([machine(1), machine(2, versions=VERSIONS | changed)])))
    assert check.status == "fail"
    assert said in check.message
    assert "node-2 (10.0.0.2)" in check.message
    assert remedy in check.remedy


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"disk": {"/data": GIB // 10}}, "fail", "has 0.1 GiB free at /data"),
        ({"disk": {"/data": GIB}}, "warn", "has 1.0 GiB free at /data"),
        ({"shm": 64 * 2**20}, "warn", "0.06 GiB free in /dev/shm"),
        ({"handles": 1024}, "warn", "open 1024 files"),
    ],
)
def test_a_machine_that_is_short_of_something_is_named(given: dict[str, object], status: str, said: str) -> None:
    check = only(list(room({"node-1": a_room(), "node-2": a_room(**given)})))
    assert (check.status, said in check.message, check.message.startswith("node-2")) == (status, True, True)


def test_no_limit_of_handles_and_no_dev_shm_are_no_faults() -> None:
    assert only(list(room({"a": a_room(handles=-1, shm=None)}))).status == "ok"


@pytest.mark.parametrize(
    ("offset", "status"), [(0.2, "ok"), (-0.9, "ok"), (1.5, "warn"), (-20.0, "warn"), (31.0, "fail"), (-3600.0, "fail")]
)
def test_clocks_are_judged_by_their_distance(offset: float, status: str) -> None:
    check = only(list(clocks({"10.0.0.2": (offset, 0.01)})))
    assert check.status == status
    if status != "ok":
        assert ("ahead" if offset > 0 else "behind") in check.message


def test_a_slow_network_does_not_put_a_clock_out_of_step() -> None:
    assert only(list(clocks({"10.0.0.2": (1.8, 1.0)}))).status == "ok"


@pytest.mark.parametrize(("where", "said"), [(None, "leads to nothing"), ("127.0.1.1", "leads to 127.0.1.1")])
def test_a_name_that_leads_astray_is_a_warning_for_the_address_is_used(where: str | None, said: str) -> None:
    check = only(list(names([machine(1), machine(2, resolves_to=where)])))
    assert check.status == "warn"
    assert said in check.message
    assert "trainers use its address" in check.message


def test_a_machine_alone_may_call_itself_loopback() -> None:
    assert only(list(names([machine(address="127.0.0.1", resolves_to="127.0.1.1")]))).status == "ok"


def test_gpus_in_order_are_one_line() -> None:
    check = only(list(gpus([machine(gpus=(GPU,), torch_gpus=1, cuda="12.8", nccl="2.27.3")], 1, {"10.0.0.1": 1})))
    assert check.status == "ok"
    assert "1 GPU (L4), driver 570.1, CUDA 12.8, NCCL 2.27.3" in check.message


def test_a_recipe_that_wants_gpus_where_none_is_fails() -> None:
    check = only(list(gpus([machine()], 1, {})))
    assert (check.status, "no machine has a driver" in check.message) == ("fail", True)


def test_before_an_autoscaler_has_brought_a_node_no_gpu_is_a_warning() -> None:
    check = only(list(gpus([machine()], 1, {"10.0.0.1": 0.0}, none_trains=True)))
    assert (check.status, "no node that trains is up yet" in check.message) == ("warn", True)
    assert only(list(gpus([machine()], 0, {}, none_trains=True))).status == "ok"


@pytest.mark.parametrize(("wanted", "status"), [(0.0, "warn"), (0.5, "fail")])
def test_a_torch_without_cuda_fails_those_alone_who_train_on_gpus(wanted: float, status: str) -> None:
    check = only(list(gpus([machine(gpus=(GPU,), torch_gpus=0)], wanted, {})))
    assert (check.status, "torch sees 0" in check.message) == (status, True)


@pytest.mark.parametrize(
    ("given", "offered", "status", "said"),
    [
        ({"gpus": (GPU,), "torch_gpus": 0}, 1.0, "fail", "torch sees 0"),
        ({"gpus": (GPU,), "torch_gpus": 1}, 2.0, "fail", "Ray counts 2 GPUs on node-2"),
        (
            {"gpus": (BUSY,), "torch_gpus": 1},
            1.0,
            "warn",
            "900 of 23,034 MiB free",
        ),
        (
            {"gpus": (OLD,), "torch_gpus": 1},
            1.0,
            "warn",
            "driver differs: 570.1 on node-1",
        ),
        ({"gpus": (GPU,), "torch_gpus": 1, "nccl": "2.1"}, 1.0, "warn", "NCCL differs"),
    ],
)
def test_a_gpu_that_cannot_be_used_as_it_is_is_named(
    given: dict[str, object], offered: float, status: str, said: str
) -> None:
    two = [machine(1, gpus=(GPU,), torch_gpus=1), machine(2, **given)]
    check = only(list(gpus(two, 1, {"10.0.0.1": 1.0, "10.0.0.2": offered})))
    assert (check.status, said in check.message) == (status, True), check
