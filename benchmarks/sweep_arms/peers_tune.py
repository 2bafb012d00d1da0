"""The script of `peers` under Ray Tune: each run is a trial with one CPU, in a process of its own.

python -m benchmarks.sweep_arms.peers_tune functions FOLDER OUT CONCURRENT  # the trial trains
python -m benchmarks.sweep_arms.peers_tune trainers FOLDER OUT CONCURRENT   # the trial starts a TorchTrainer
"""

import sys
from pathlib import Path
from typing import Any

from benchmarks.control_arms.ray_peers import train_in_worker, tune_runs
from benchmarks.sweep_arms.case import read

CPUS = {"functions": 1.0, "trainers": 0.01}  # per trial; the worker of a TorchTrainer reserves a CPU of its own


def train(config: dict[str, Any]) -> None:
    """Do one run, in this process."""
    from benchmarks.sweep_arms.peers import train_run

    prepared = read(Path(config["folder"]))
    train_run(prepared, prepared.runs[config["number"]], Path(config["out"]))


def start_trainer(config: dict[str, Any]) -> None:
    """Do one run, in the worker of a TorchTrainer."""
    train_in_worker(train, config, f"{config['out']}/train")


def sweep(kind: str, folder: Path, out: Path, concurrent: int) -> None:
    """Do all runs as trials of one Tuner, on a local Ray that ends with this process."""
    from orchestrator.cluster.session.ray_session import open_session

    session = open_session(threads=1)
    try:
        trial, config = {"functions": train, "trainers": start_trainer}[kind], {"folder": str(folder), "out": str(out)}
        runs = len(read(folder).runs)
        tune_runs(trial, runs, config, cpus=CPUS[kind], storage=out / "tune", at_once=concurrent)
    finally:
        session.close()


if __name__ == "__main__":
    sweep(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
