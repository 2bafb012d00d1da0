"""The same script under Ray Tune: a run a trial, of one CPU, in a process of its own.

python -m benchmarks.sweep_peers_tune functions FOLDER OUT CONCURRENT  # the trial trains
python -m benchmarks.sweep_peers_tune trainers FOLDER OUT CONCURRENT   # it starts a TorchTrainer, as Ray's guide has it
"""

import sys
from pathlib import Path
from typing import Any

from benchmarks.sweep_case import read

CPUS = {"functions": 1.0, "trainers": 0.01}  # of a trial itself: a trainer's worker asks for its own


def train(config: dict[str, Any]) -> None:
    """One run, in the process that this is called in."""
    from benchmarks.sweep_peers import train_run

    prepared = read(Path(config["folder"]))
    train_run(prepared, prepared.runs[config["number"]], Path(config["out"]))


def start_trainer(config: dict[str, Any]) -> None:
    """One run in the worker of a TorchTrainer."""
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    TorchTrainer(
        train,
        train_loop_config=config,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ray.train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
        run_config=ray.train.RunConfig(name=f"run-{config['number']}", storage_path=f"{config['out']}/train"),
    ).fit()


def sweep(kind: str, folder: Path, out: Path, concurrent: int) -> None:
    """All runs as trials of one Tuner, on a local Ray that ends with this process."""
    from orchestrator.cluster.session import open_session

    session = open_session(threads=1)
    try:
        from ray import tune

        numbers = tune.grid_search(list(range(len(read(folder).runs))))
        trial = {"functions": train, "trainers": start_trainer}[kind]
        results = tune.Tuner(
            tune.with_resources(trial, {"cpu": CPUS[kind]}),
            param_space={"number": numbers, "folder": str(folder), "out": str(out)},
            tune_config=tune.TuneConfig(max_concurrent_trials=concurrent),
            run_config=tune.RunConfig(name="peft", storage_path=str(out / "tune"), verbose=0),
        ).fit()
        if results.errors:
            raise RuntimeError(f"{len(results.errors)} trials failed, the first with {results.errors[0]}")
    finally:
        session.close()


if __name__ == "__main__":
    sweep(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
