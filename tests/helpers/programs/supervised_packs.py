"""A driver whose packs meet what may happen to them; tests/test_supervision.py runs it in a process of its own.

usage: supervised_packs.py FOLDER WORKERS HANG_SECONDS WHAT PACK...

Packs do what their names say, in steps that are saved on disk as a trainer saves its runs ("fine...", "long...",
"alike...", "stops...", "sleeps...", "memory...", "ecc...": fails on the node that the pack "ecc-1" breaks, and works
elsewhere until that node has failed LIKE packs). WHAT
happens to the cluster meanwhile: "nothing", "trials" (Tune's trials are killed), "hub" (the hub is killed), "lose" or
"drain" (the node of the first pack goes, of two), "bad" (nothing, with two nodes), "late" (no node is there, and one
comes), "grows" (a second node comes while the first pack trains), "shares" (another sweep comes to the cluster that
RAY_ADDRESS names).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import psutil
import torch

from orchestrator.cluster.hub.breaker import LIKE
from orchestrator.cluster.ray_tune import RayCluster
from orchestrator.control import Control
from orchestrator.errors import InputError, StoppedError
from orchestrator.plan.packs import Pack
from orchestrator.recipe.cluster_section import ClusterSpec
from orchestrator.recipe.sections import EngineSpec
from orchestrator.store.trial import FromWorker, StorageTrial
from orchestrator.worker.jobs import PackJob

NODES = {"lose": 2, "drain": 2, "late": 0, "grows": 1, "bad": 2}
ADDED: list[subprocess.Popen[bytes]] = []
MOST: dict[str, Any] = {"lose": 2, "drain": 2, "grows": "auto", "shares": "auto", "bad": "auto"}
STEPS = {"long": 40, "ecc": 40}
STEP_SECONDS = 0.25


class Stepper:
    """Makes steps, each saved at once. A line per start has the pack, rank, first step, process, node and time."""

    def __call__(self, job: PackJob, device: torch.device, control: Control) -> None:
        import ray

        group, name, folder = torch.distributed.is_initialized(), job.pack.name, Path(job.folder)
        rank, last = (torch.distributed.get_rank(), torch.distributed.get_world_size() - 1) if group else (0, 0)
        saved = folder / f"{name}-{rank}.steps"
        first = int(saved.read_text()) if saved.exists() else 0
        node = ray.get_runtime_context().get_node_id()
        with (folder / "starts.txt").open("a") as trace:
            trace.write(f"{name} {rank} {first} {os.getpid()} {node} {time.time()}\n")
        if name.startswith("ecc"):
            self.meet_a_broken_node(name, folder, node)
        if name.startswith("alike"):
            raise OSError("/data is not there")
        if name.startswith("memory") and first == 0:
            saved.write_text("1")
            raise torch.OutOfMemoryError("CUDA out of memory.")
        for step in range(first + 1, STEPS.get(name.partition("-")[0], 4) + 1):
            time.sleep(STEP_SECONDS)
            if group:
                torch.distributed.all_reduce(torch.ones(1, device=device))
            saved.write_text(str(step))
            control.progress({name: step})
            if first == 0 and step == 3 and rank == last:
                self.meet(name)
            if control.stopping:
                raise StoppedError(f"{name} is saved at step {step}")

    def meet_a_broken_node(self, name: str, folder: Path, node: str) -> None:
        """Raise on the node that the pack "ecc-1" breaks; elsewhere wait until that node has failed LIKE packs."""
        broken = folder / "broken.txt"
        if name.endswith("-1"):
            broken.write_text(node)
        if broken.exists() and broken.read_text() == node:
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
        while not broken.exists() or (folder / "starts.txt").read_text().count(broken.read_text()) < LIKE:
            time.sleep(STEP_SECONDS)

    def meet(self, name: str) -> None:
        """Hang in one of two ways, the first time."""
        if name.startswith("stops"):
            os.kill(os.getpid(), signal.SIGSTOP)
        if name.startswith("sleeps"):
            time.sleep(10_000)


def happen(what: str, folder: Path, cluster: Any) -> None:
    """Let WHAT happen as soon as the first pack makes steps."""
    if what == "trials":
        kill_processes("ImplicitFunc", 3)
        return
    if what == "late":
        time.sleep(13)
        add_node(cluster)
        return
    while not list(folder.glob("*.steps")) or not (folder / "starts.txt").exists():
        time.sleep(0.1)
    time.sleep(1.0)
    node = (folder / "starts.txt").read_text().split()[4]
    if what == "hub":
        kill_processes("HubActor", 1)
    elif what == "lose":
        (raylet,) = [one for one in cluster.worker_nodes if one.node_id == node]
        cluster.remove_node(raylet, allow_graceful=False)
    elif what == "grows":
        (folder / "came.txt").write_text(str(time.time()))
        add_node(cluster)
    elif what == "drain":
        told = (
            "--reason",
            "DRAIN_NODE_REASON_PREEMPTION",
            "--reason-message",
            "reclaimed",
            "--deadline-remaining-seconds",
        )
        words = ("drain-node", "--address", cluster.address, "--node-id", node, *told, "30")
        subprocess.run([sys.executable, "-m", "ray.scripts.scripts", *words], check=True)


def add_node(cluster: Any) -> None:
    """Add a node in a process of its own: within this process only the main thread can start one."""
    words = ("start", "--address", cluster.address, "--num-cpus=1", "--block", "--disable-usage-stats")
    ADDED.append(subprocess.Popen([sys.executable, "-m", "ray.scripts.scripts", *words]))


def kill_processes(word: str, wanted: int) -> None:
    """Kill this many processes of Ray below this one with the word in their name, as they appear."""
    killed, deadline = 0, time.monotonic() + 60
    while killed < wanted and time.monotonic() < deadline:
        for child in psutil.Process().children(recursive=True):
            try:
                if child.name().startswith("ray::") and word in " ".join(child.cmdline()):
                    child.kill()
                    killed += 1
            except psutil.Error:
                continue
        time.sleep(0.05)
    sys.stdout.write(f"killed {killed} of {word}\n")


def some_nodes(count: int) -> Any:
    """Start a Ray of a head without CPUs and so many raylets of one CPU, and lead RAY_ADDRESS to it."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(count):
        cluster.add_node(num_cpus=1)
    os.environ["RAY_ADDRESS"] = cluster.address
    return cluster


def try_nodes(cluster: RayCluster, storage: Path) -> list[str]:
    """Try a folder from the other nodes, and one that they cannot know; return how each trial ended."""
    with StorageTrial(storage) as trial:
        answers = cluster.on_other_nodes(trial.from_worker, storage)
        for answer in answers:
            trial.check(answer)
    try:
        cluster.on_other_nodes(FromWorker("0" * 16), storage)
    except InputError as error:
        return [f"{len(answers)} nodes", str(error)]
    return [f"{len(answers)} nodes"]


def interrupt(number: int, frame: Any) -> None:
    """Do what `jobs.command` does at SIGTERM."""
    raise KeyboardInterrupt


def main(folder: Path, workers: int, hang: float, what: str, names: list[str]) -> None:
    said: list[str] = []
    signal.signal(signal.SIGTERM, interrupt)

    def say(line: str) -> None:
        if "has not begun after" not in line:  # said only on a slow machine, and tested without Ray
            said.append(line)
        sys.stdout.write(f"{line}\n")

    nodes = some_nodes(NODES[what]) if what in NODES else None
    jobs = [PackJob(str(folder), "base", "fingerprint", {}, EngineSpec(), Pack(name, (), ())) for name in names]
    spec = ClusterSpec(workers=workers, hang_seconds=hang, max_concurrent=MOST.get(what, 1))
    if what not in ("nothing", "shares", "bad"):
        threading.Thread(target=happen, args=(what, folder, nodes), daemon=True).start()
    cluster = RayCluster(spec, folder / "ray", say=say)
    tried = try_nodes(cluster, folder / "storage") if what in ("lose", "drain") else []
    began = time.monotonic()
    try:
        failures = cluster.run_packs(jobs, Stepper())
    finally:
        out = {"said": said, "steps": cluster.news.steps, "seconds": time.monotonic() - began, "tried": tried}
        (folder / "said.json").write_text(json.dumps(out))
        cluster.close()
        for added in ADDED:
            added.terminate()
            added.wait(60)
        if nodes:
            nodes.shutdown()
    (folder / "out.json").write_text(json.dumps({"failures": failures, **out}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4], sys.argv[5:])
