"""A driver whose packs do what their names say; test_ray.py runs it in a process of its own.

usage: ray_packs.py FOLDER PACK...     (packs: "fine...", "raises...", "dies...")
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from orchestrator.cluster.ray_tune import RayCluster
from orchestrator.plan.packs import Pack
from orchestrator.recipe.sections import ClusterSpec, EngineSpec
from orchestrator.worker.jobs import PackJob


class Actor:
    """Leaves a trace of each pack, with how many packs this object has had; then rank 1 raises or dies.

    Rank 0 waits for rank 1.
    """

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, job: PackJob, device: torch.device) -> None:
        self.calls += 1
        rank, name = torch.distributed.get_rank(), job.pack.name
        with (Path(job.folder) / f"rank{rank}.txt").open("a") as trace:
            trace.write(f"{name} {os.getpid()} {self.calls}\n")
        if rank == 1 and name.startswith("raises"):
            raise ValueError(f"{name} is bad")
        if rank == 1 and name.startswith("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        torch.distributed.all_reduce(torch.ones(1, device=device))


def states(_: Path) -> list[str]:
    """Return the states of placement groups, as seen from a worker: so there was room for one."""
    import ray

    return [one["state"] for one in ray.util.placement_group_table().values()]


def main(folder: Path, names: list[str]) -> None:
    jobs = [PackJob(str(folder), "base", "fingerprint", {}, EngineSpec(), Pack(name, (), ())) for name in names]
    cluster = RayCluster(ClusterSpec(workers=2), folder / "ray")
    try:
        failures = cluster.run_packs(jobs, Actor())
        groups = cluster.call(states, folder)
    finally:
        cluster.close()
    (folder / "out.json").write_text(json.dumps({"failures": failures, "groups": groups}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
