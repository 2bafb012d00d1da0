"""The usual way to run a sweep on Ray: one Tune trial per run, each with its own TorchTrainer, which does nothing.

python -m benchmarks.control_arms.no_op_peer FOLDER RUNS CONCURRENT
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.control_arms.ray_peers import train_in_worker, tune_runs

PARTS = "parts.json"


def nothing(config: dict[str, Any]) -> None:
    """Train nothing."""


def trial(config: dict[str, Any]) -> None:
    """Do one run: start a TorchTrainer whose worker does nothing."""
    train_in_worker(nothing, config, config["storage"])


def sweep(place: Path, runs: int, concurrent: int) -> dict[str, float]:
    """Run the trials; return the seconds that Ray took to start and end ("Ray"), and those of the trials ("packs")."""
    from orchestrator.cluster.session.ray_session import open_session

    begin = time.monotonic()
    session = open_session(threads=1)
    opened = time.monotonic()
    try:
        config = {"storage": str(place / "train")}
        tune_runs(trial, runs, config, cpus=0.01, storage=place / "tune", at_once=concurrent)
        done = time.monotonic()
    finally:
        session.close()
    return {"Ray": opened - begin + time.monotonic() - done, "packs": done - opened}


if __name__ == "__main__":
    place_ = Path(sys.argv[1]).resolve()
    (place_ / PARTS).write_text(json.dumps(sweep(place_, int(sys.argv[2]), int(sys.argv[3]))))
