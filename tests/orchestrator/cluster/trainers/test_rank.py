"""The environment of ranks, and a process group whose store listens on one address alone."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from orchestrator.cluster.trainers import rank as module
from orchestrator.cluster.trainers.rank import Rank, Seat, variables_of


def test_ranks_of_a_node_see_the_gpus_of_all_of_them_in_the_order_of_local_ranks() -> None:
    seats = [Seat("a", "10.0.0.1", ("3",)), Seat("b", "10.0.0.2", ("0",)), Seat("a", "10.0.0.1", ("1",))]
    variables = variables_of(seats, 29500)
    assert [one["CUDA_VISIBLE_DEVICES"] for one in variables] == ["3,1", "0", "3,1"]
    assert [one["RANK"] for one in variables] == ["0", "1", "2"]
    assert [one["LOCAL_RANK"] for one in variables] == ["0", "0", "1"]
    assert [one["LOCAL_WORLD_SIZE"] for one in variables] == ["2", "1", "2"]
    assert [one["NODE_RANK"] for one in variables] == ["0", "1", "0"]
    for one, seat in zip(variables, seats, strict=True):
        assert one["CUDA_VISIBLE_DEVICES"].split(",")[int(one["LOCAL_RANK"])] == seat.gpus[0]
    assert {(one["WORLD_SIZE"], one["MASTER_ADDR"], one["MASTER_PORT"]) for one in variables} == {
        ("3", "10.0.0.1", "29500")
    }


def test_ranks_without_gpus_keep_what_they_see() -> None:
    assert "CUDA_VISIBLE_DEVICES" not in variables_of([Seat("a", "10.0.0.1")] * 2, 1)[0]


def test_the_store_of_the_ranks_listens_on_the_address_of_rank_0_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks in two threads, each with a store of its own; nothing else can take the port meanwhile."""
    import torch

    stores: list[Any] = []
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda _, **words: stores.append(words["store"]))
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: "127.0.0.2")
    ranks = [Rank("hub", "trainer", number) for number in range(2)]
    port = ranks[0].offer_port()
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.2", port))
    variables = variables_of([Seat("a", "127.0.0.2")] * 2, port)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda rank, own: rank._connect("gloo", own), ranks, variables))
    stores[0].set("key", "value")
    assert stores[1].get("key") == b"value"
    with pytest.raises(ConnectionRefusedError):  # as on every other address of the machine
        socket.create_connection(("127.0.0.1", port), timeout=5)
    socket.create_connection(("127.0.0.2", port), timeout=5).close()


def test_ranks_that_do_not_meet_say_where_and_what_looks_at_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: "127.0.0.1")
    monkeypatch.setattr(module, "MEET_SECONDS", 0.3)
    alone = Rank("hub", "trainer", 0)
    variables = variables_of([Seat("a", "127.0.0.1")] * 2, alone.offer_port())
    with pytest.raises(RuntimeError, match=r"rank 0 has not met the other ranks at 127\.0\.0\.1:.*jobs/doctor\.py"):
        alone._connect("gloo", variables[0])


def test_variables_are_set_before_torch_looks_at_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setattr("ray.get_actor", lambda name: name)
    monkeypatch.setattr(
        "orchestrator.machine.device.device_of", lambda gpus: seen.append(os.environ.get("CUDA_VISIBLE_DEVICES"))
    )
    monkeypatch.setattr(module, "train_packs", lambda hub, trainer, rank, train, device: seen.append(hub))
    monkeypatch.setattr(Rank, "_connect", lambda self, backend, variables: seen.append(backend))
    Rank("hub", "trainer", 0).train({"CUDA_VISIBLE_DEVICES": "0,1"}, b"", 0)
    assert seen == ["0,1", "gloo", "hub"]
