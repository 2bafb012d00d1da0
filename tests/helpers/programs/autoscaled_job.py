"""A sweep on a cluster of which an autoscaler of Ray brings every worker node; run it in a host of its own.

usage: autoscaled_job.py VERSION RECIPE KEY=VALUE...

VERSION is 1 or 2, of the autoscaler. The cluster is a head without processors, and up to two nodes of one processor,
which Ray's fake provider starts on this host. Prints what the job says, and the nodes that came. Ray's own test cluster
calls `ray stop`, which ends every Ray that this host can see.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from ray.cluster_utils import AutoscalingCluster

ADDRESS = "127.0.0.1:6379"


def main(version: str, words: list[str]) -> int:
    workers = {"cpu": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2}}
    cluster = AutoscalingCluster({"CPU": 0}, workers, autoscaler_v2=version == "2", idle_timeout_minutes=5)
    cluster.start()
    try:
        command = [sys.executable, "jobs/sweep.py", *words]
        code = subprocess.run(command, env=os.environ | {"RAY_ADDRESS": ADDRESS}, check=False).returncode
        import ray

        ray.init(ADDRESS, logging_level="ERROR", log_to_driver=False)
        there = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        sys.stdout.write(f"nodes that came: {len(there)}\n")
        ray.shutdown()
        return code
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
