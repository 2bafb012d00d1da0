"""The actor of one rank of a trainer: its heart beats, it connects with the other ranks, and it trains packs."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.cluster.trainers.heart import begin_heart
from orchestrator.cluster.trainers.turns import train_packs

MEET_SECONDS = 600  # for the ranks to find each other: each of them has begun, and imports torch
CONNECT_SECONDS = 1800  # for one collective operation; torch's own for gloo


@dataclass(frozen=True)
class Seat:
    """Where Ray has put a rank: the id and the IP address of its node, and the ids of the GPUs reserved for it."""

    node: str
    address: str
    gpus: tuple[str, ...] = ()


def variables_of(seats: Sequence[Seat], port: int) -> list[dict[str, str]]:
    """Return the environment of each rank, as a launcher of torch sets it; rank 0 listens on ``port``.

    Ranks on one node see the GPUs of all of them, because NCCL copies between GPUs that both ranks see. The GPUs stand
    in the order of the local ranks, so LOCAL_RANK is the index of a rank's own GPU.
    """
    nodes = list(dict.fromkeys(seat.node for seat in seats))
    environments = []
    for rank, seat in enumerate(seats):
        here = [other for other, one in enumerate(seats) if one.node == seat.node]
        variables = {
            "RANK": rank,
            "WORLD_SIZE": len(seats),
            "LOCAL_RANK": here.index(rank),
            "LOCAL_WORLD_SIZE": len(here),
            "NODE_RANK": nodes.index(seat.node),
            "MASTER_ADDR": seats[0].address,
            "MASTER_PORT": port,
        }
        if seat.gpus:
            variables["CUDA_VISIBLE_DEVICES"] = ",".join(gpu for other in here for gpu in seats[other].gpus)
        environments.append({name: str(value) for name, value in variables.items()})
    return environments


class Rank:
    """One process: the rank ``rank`` of the trainer ``trainer`` of the hub ``hub``.

    Ray calls the methods one after another in the main thread of the process.
    """

    def __init__(self, hub: str, trainer: str, rank: int) -> None:
        self._hub, self._trainer, self._rank = hub, trainer, rank
        self._listener: socket.socket | None = None

    def begin(self) -> Seat:
        """Let the heart beat from now on; return where this rank is."""
        import ray

        begin_heart(self._hub, self._trainer, self._rank)
        context = ray.get_runtime_context()
        gpus = tuple(map(str, context.get_accelerator_ids().get("GPU", ())))
        return Seat(context.get_node_id(), ray.util.get_node_ip_address(), gpus)

    def offer_port(self) -> int:
        """Listen on a free port of this node's address, and of no other address; return the port."""
        import ray

        address = ray.util.get_node_ip_address()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family)
        return int(self._listener.getsockname()[1])

    def train(self, variables: Mapping[str, str], train: bytes, gpus: float) -> None:
        """Train the packs that the hub gives this rank; ``variables`` (`variables_of`) are empty for a single rank."""
        os.environ.update(variables)  # before torch looks at the GPUs
        import ray

        from orchestrator.machine.device import device_of

        device = device_of(gpus)
        if variables:
            import torch

            if gpus:
                device = torch.device("cuda", int(variables["LOCAL_RANK"]))
                torch.cuda.set_device(device)
            self._connect("nccl" if gpus else "gloo", variables)
        train_packs(ray.get_actor(self._hub), self._trainer, self._rank, train, device)

    def _connect(self, backend: str, variables: Mapping[str, str]) -> None:
        """Make the process group of all ranks.

        Rank 0 hands its listening socket to torch: torch's own socket would listen on all addresses of the node, and
        another process could take its port meanwhile. RuntimeError if the ranks do not meet within MEET_SECONDS.
        """
        from datetime import timedelta

        import torch

        os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")  # an operation that is late ends the process
        world, limit = int(variables["WORLD_SIZE"]), timedelta(seconds=CONNECT_SECONDS)
        host, port = variables["MASTER_ADDR"], int(variables["MASTER_PORT"])
        try:
            store = torch.distributed.TCPStore(  # type: ignore[attr-defined]
                host,
                port,
                world,
                is_master=self._rank == 0,
                timeout=timedelta(seconds=MEET_SECONDS),
                master_listen_fd=self._listener.detach() if self._listener else None,
            )
        except RuntimeError as error:
            why = " ".join(str(error).split())[:200]
            raise RuntimeError(
                f"rank {self._rank} has not met the other ranks at {host}:{port} within {MEET_SECONDS} s ({why}). "
                "Nodes have to reach each other on all ports: `python jobs/doctor.py` measures it (exchange)."
            ) from error
        store.set_timeout(limit)
        torch.distributed.init_process_group(backend, store=store, rank=self._rank, world_size=world, timeout=limit)
