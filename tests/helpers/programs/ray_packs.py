"""A driver whose packs do what their names say; test_ray.py runs it in a process of its own.

usage: ray_packs.py FOLDER WORKERS PACK...     (packs: "fine...", "raises...", "dies...")
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import torch

from orchestrator.cluster.ray_tune import RayCluster
from orchestrator.control import Control
from orchestrator.plan.packs import Pack
from orchestrator.recipe.cluster_section import ClusterSpec
from orchestrator.recipe.sections import EngineSpec
from orchestrator.worker.jobs import PackJob


class Actor:
    """Leaves a trace of each pack, with how many packs this object has had; then the last rank raises, or dies once.

    The other ranks wait for the last rank.
    """

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, job: PackJob, device: torch.device, control: Control) -> None:
        self.calls += 1
        group, name = torch.distributed.is_initialized(), job.pack.name
        rank, last = (torch.distributed.get_rank(), torch.distributed.get_world_size() - 1) if group else (0, 0)
        with (Path(job.folder) / f"rank{rank}.txt").open("a") as trace:
            trace.write(f"{name} {os.getpid()} {self.calls}\n")
        if rank == last and name.startswith("raises"):
            raise ValueError(f"{name} is bad")
        died = Path(job.folder) / f"{name}.died"
        if rank == last and name.startswith("dies") and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if group:
            torch.distributed.all_reduce(torch.ones(1, device=device))


def states(_: Path) -> list[str]:
    """Return the states of placement groups, as seen from a worker: so there was room for one."""
    import ray

    return [one["state"] for one in ray.util.placement_group_table().values()]


def main(folder: Path, workers: int, names: list[str]) -> None:
    jobs = [PackJob(str(folder), "base", "fingerprint", {}, EngineSpec(), Pack(name, (), ())) for name in names]
    cluster = RayCluster(ClusterSpec(workers=workers, max_concurrent=1), folder / "ray")
    try:
        failures = cluster.run_packs(jobs, Actor())
        later = cluster.run_packs(jobs[-1:], Actor())  # of a later round, whose packs may have the same names
        groups = cluster.call(states, folder)
    finally:
        cluster.close()
    (folder / "out.json").write_text(json.dumps({"failures": failures, "later": later, "groups": groups}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
