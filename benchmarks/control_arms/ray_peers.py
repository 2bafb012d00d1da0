"""What peers on Ray share: a run in a TorchTrainer of its own, and trials of one Tuner that must all succeed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Train = Callable[[dict[str, Any]], None]


def train_in_worker(train: Train, config: dict[str, Any], storage: str) -> None:
    """Start a trainer with one worker of one CPU, as Ray's guide to tuning with Train has it, and wait for it."""
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    TorchTrainer(
        train,
        train_loop_config=config,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ray.train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
        run_config=ray.train.RunConfig(name=f"run-{config['number']}", storage_path=storage),
    ).fit()


def tune_runs(trial: Train, runs: int, config: Mapping[str, Any], *, cpus: float, storage: Path, at_once: int) -> None:
    """Run a trial for each ``number`` below ``runs`` on the Ray that is up; RuntimeError with the first that failed."""
    from ray import tune

    results = tune.Tuner(
        tune.with_resources(trial, {"cpu": cpus}),
        param_space={"number": tune.grid_search(list(range(runs))), **config},
        tune_config=tune.TuneConfig(max_concurrent_trials=at_once),
        run_config=tune.RunConfig(name="peer", storage_path=str(storage), verbose=0),
    ).fit()
    if results.errors:
        raise RuntimeError(f"{len(results.errors)} trials failed, the first with {results.errors[0]}")
