"""A sweep on a cluster of which an autoscaler of Ray brings every worker node; run it in a host of its own.

usage: autoscaled_job.py FOLDER RECIPE KEY=VALUE...

The cluster is a head without processors, and up to two nodes of one processor, which the first autoscaler starts on
this host by its fake provider. Prints the words of the job, and the nodes that came. All ends with the host.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ADDRESS = "127.0.0.1:6379"
RAY = (sys.executable, "-m", "ray.scripts.scripts")
COMMANDS = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
FAKE = {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}


def config() -> dict[str, object]:
    """Return a configuration of the fake provider, complete: nothing fills in what is missing."""
    nodes = {
        "head": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "cpu": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
    }
    settings = {
        "cluster_name": "fake",
        "max_workers": 8,
        "provider": {"type": "fake_multinode", "disable_node_updaters": True},  # it has no hosts to set up over SSH
        "available_node_types": nodes,
        "head_node_type": "head",
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 5,
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
    }
    return settings | {f"{name}_commands": [] for name in COMMANDS}


def main(folder: Path, words: list[str]) -> int:
    """Start the head, run the job, and count the nodes."""
    file = folder / "autoscaling.json"
    file.write_text(json.dumps(config()))
    port = ADDRESS.partition(":")[2]
    start = (*RAY, "start", "--head", "--port", port, "--num-cpus=0", f"--autoscaling-config={file}")
    subprocess.run([*start, "--node-ip-address=127.0.0.1", "--disable-usage-stats"], env=os.environ | FAKE, check=True)
    command = [sys.executable, "jobs/sweep.py", *words]
    code = subprocess.run(command, env=os.environ | {"RAY_ADDRESS": ADDRESS}, check=False).returncode
    import ray

    ray.init(ADDRESS, logging_level="ERROR", log_to_driver=False)
    there = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    sys.stdout.write(f"nodes that came: {len(there)}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
