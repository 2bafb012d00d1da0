"""The usual form: a Tune trial a run, each with a TorchTrainer of its own that does nothing.

python -m benchmarks.no_op_peer FOLDER RUNS CONCURRENT
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

PARTS = "parts.json"


def nothing() -> None:
    """Train nothing."""


def trial(config: dict[str, Any]) -> None:
    """Start a trainer with one worker, and wait for it."""
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    TorchTrainer(
        nothing,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ray.train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
        run_config=ray.train.RunConfig(name=f"run-{config['number']}", storage_path=config["storage"]),
    ).fit()


def sweep(place: Path, runs: int, concurrent: int) -> dict[str, float]:
    """Run the trials; the seconds of starting and ending Ray, and of the trials."""
    from orchestrator.cluster.session import open_session

    begin = time.monotonic()
    session = open_session(threads=1)
    opened = time.monotonic()
    try:
        from ray import tune

        results = tune.Tuner(
            tune.with_resources(trial, {"cpu": 0.01}),
            param_space={"number": tune.grid_search(list(range(runs))), "storage": str(place / "train")},
            tune_config=tune.TuneConfig(max_concurrent_trials=concurrent),
            run_config=tune.RunConfig(name="peer", storage_path=str(place / "tune"), verbose=0),
        ).fit()
        done = time.monotonic()
        if results.errors:
            raise RuntimeError(f"{len(results.errors)} trials failed, the first with {results.errors[0]}")
    finally:
        session.close()
    return {"Ray": opened - begin + time.monotonic() - done, "packs": done - opened}


if __name__ == "__main__":
    place_ = Path(sys.argv[1]).resolve()
    (place_ / PARTS).write_text(json.dumps(sweep(place_, int(sys.argv[2]), int(sys.argv[3]))))
