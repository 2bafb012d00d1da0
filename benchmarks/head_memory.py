"""The memory that trainers cost the head beside their ranks: the hub, Tune's trials, idle workers, and the driver.

    python -m benchmarks.head_memory [TRAINERS]     # 8 without a number; a Markdown table

A Ray of this machine alone, told that it has as many CPUs as there are trainers, holds packs that only wait. Memory is
the proportional set size of processes by their titles. All but the ranks, which train and are on other nodes of a
cluster, would be on its head.
"""

import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil

RANK = "ray::Rank"
LIMIT_SECONDS = 300.0
MB = 1024 * 1024

Titles = dict[str, list[int]]
"""Title of processes -> the bytes of each."""


class Waits:
    """Trains nothing: notes that the pack has begun, and waits until all packs may end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, job: Any, device: Any, control: Any) -> None:
        """Wait for the file ``over``."""
        del device, control
        (self._folder / f"{job.pack.name}.begun").touch()
        while not (self._folder / "over").exists():
            time.sleep(0.2)


def memory_by_title() -> Titles:
    """Return the memory of this process and of all processes below it."""
    titles: Titles = defaultdict(list)
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            name = process.cmdline()[0].split()[0] if process.pid != os.getpid() else "driver"
            titles[Path(name).name if name[0] == "/" else name].append(process.memory_full_info().pss)
        except (psutil.Error, IndexError):
            continue  # it has just ended
    return dict(titles)


def look(trainers: int, folder: Path) -> Titles:
    """Return the memory while so many trainers are at work."""
    from orchestrator.cluster.ray_tune import RayCluster
    from orchestrator.plan.packs import Pack
    from orchestrator.recipe.cluster_section import ClusterSpec
    from orchestrator.recipe.sections import EngineSpec
    from orchestrator.worker.jobs import PackJob

    folder.mkdir()
    names = [f"p{number}" for number in range(trainers)]
    jobs = [PackJob(str(folder), "base", "fingerprint", {}, EngineSpec(), Pack(name, (), ())) for name in names]
    cluster = RayCluster(ClusterSpec(max_concurrent=trainers), folder / "ray")
    training = threading.Thread(target=cluster.run_packs, args=(jobs, Waits(folder)))
    try:
        training.start()
        deadline = time.monotonic() + LIMIT_SECONDS
        while len(list(folder.glob("*.begun"))) < trainers:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{trainers} trainers have not begun within {LIMIT_SECONDS:.0f} s")
            time.sleep(0.5)
        time.sleep(10)  # workers that Ray has started in advance settle
        return memory_by_title()
    finally:
        (folder / "over").touch()
        training.join(60)
        cluster.close()


def main(trainers: int) -> None:
    """Measure with one trainer and with all, and print."""
    from ray.cluster_utils import Cluster

    head = Cluster(initialize_head=True, head_node_args={"num_cpus": trainers, "include_dashboard": False})
    os.environ["RAY_ADDRESS"] = head.address
    try:
        with tempfile.TemporaryDirectory() as place:
            one, many = (look(number, Path(place) / str(number)) for number in (1, trainers))
    finally:
        head.shutdown()
    lines = [f"| process | 1 trainer: count, MB | {trainers} trainers: count, MB |", "|---|---|---|"]
    for title in sorted({*one, *many}):
        cells = [f"{len(seen.get(title, []))}, {sum(seen.get(title, [])) / MB:.0f}" for seen in (one, many)]
        lines.append(f"| `{title}` | {' | '.join(cells)} |")
    sums = [sum(sum(sizes) for title, sizes in seen.items() if not title.startswith(RANK)) / MB for seen in (one, many)]
    lines.append(f"| all but the ranks | {sums[0]:.0f} | {sums[1]:.0f} |")
    lines.append(f"\nPer trainer beside its ranks: {(sums[1] - sums[0]) / max(1, trainers - 1):.0f} MB.")
    print("\n".join(lines))  # noqa: T201 - the table is the output of this command


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
