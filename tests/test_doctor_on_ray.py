"""The doctor on a real cluster of a head and two raylets: every check reaches both, and all three sum a tensor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.places import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.rare]


def examined(address: str, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    environment = {**os.environ, "RAY_ADDRESS": address, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "jobs/doctor.py", "recipes/quickstart.yaml", *words, "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout.startswith("["), done.stdout + done.stderr
    return done.returncode, {one["check"]: one for one in json.loads(done.stdout)}


def test_every_check_reaches_both_nodes(tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        code, checks = examined(
            cluster.address, f"storage={tmp_path}/sweeps", f"tracking.uri=sqlite:///{tmp_path}/m.db"
        )
    finally:
        cluster.shutdown()
    assert code == 0, checks
    assert checks["versions"]["message"].endswith("equal on 3 machines")
    assert "for the driver and 2 other nodes" in checks["storage"]["message"]
    assert "gloo sums 16 MiB over 3 nodes" in checks["exchange"]["message"]
    assert checks["clocks"]["status"] == "ok"
    assert checks["state"]["status"] == "warn"  # the cluster of this test has no dashboard
    assert checks["mlflow"]["status"] == "warn"  # a database beside the driver
