"""The same script under Ray Tune: a trial, and so a process, a run, one CPU each.

python -m benchmarks.sweep_peers_tune FOLDER OUT CONCURRENT
"""

import sys
from pathlib import Path
from typing import Any

from benchmarks.sweep_case import read


def trial(config: dict[str, Any]) -> None:
    """One run in a process of its own."""
    from benchmarks.sweep_peers import train_run

    prepared = read(Path(config["folder"]))
    train_run(prepared, prepared.runs[config["number"]], Path(config["out"]))


def sweep(folder: Path, out: Path, concurrent: int) -> None:
    """All runs as trials of one Tuner, on a local Ray that ends with this process."""
    from orchestrator.cluster.session import open_session

    session = open_session(threads=1)
    try:
        from ray import tune

        numbers = tune.grid_search(list(range(len(read(folder).runs))))
        results = tune.Tuner(
            tune.with_resources(trial, {"cpu": 1}),
            param_space={"number": numbers, "folder": str(folder), "out": str(out)},
            tune_config=tune.TuneConfig(max_concurrent_trials=concurrent),
            run_config=tune.RunConfig(name="peft", storage_path=str(out / "tune"), verbose=0),
        ).fit()
        if results.errors:
            raise RuntimeError(f"{len(results.errors)} trials failed, the first with {results.errors[0]}")
    finally:
        session.close()


if __name__ == "__main__":
    sweep(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
