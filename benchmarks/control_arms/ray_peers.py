"""Two functions that the arms on Ray share: a run in its own TorchTrainer, and the trials of one Tuner."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Train = Callable[[dict[str, Any]], None]


def train_in_worker(train: Train, config: dict[str, Any], storage: str) -> None:
    """Train in a TorchTrainer with one worker of one CPU, as in Ray's guide to tuning with Train; wait for its end."""
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
    """Run one trial per ``number`` below ``runs`` on the running Ray; RuntimeError if a trial fails."""
    from ray import tune

    results = tune.Tuner(
        tune.with_resources(trial, {"cpu": cpus}),
        param_space={"number": tune.grid_search(list(range(runs))), **config},
        tune_config=tune.TuneConfig(max_concurrent_trials=at_once),
        run_config=tune.RunConfig(name="peer", storage_path=str(storage), verbose=0),
    ).fit()
    if results.errors:
        raise RuntimeError(f"{len(results.errors)} trials failed, the first with {results.errors[0]}")
