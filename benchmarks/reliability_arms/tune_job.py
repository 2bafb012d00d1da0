"""The driver of a plain Ray Tune experiment, as Ray's guide has it: restore what can be restored, else begin.

python -m benchmarks.reliability_arms.tune_job FOLDER RAY_FOLDER

Six trials, two at a time, each of 16 steps of half a second, with a checkpoint every fourth step. FOLDER gets the
experiment, a journal per trial, and at the end ``outcome.json``. RAY_FOLDER is the temporary folder of a local Ray.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.reliability_arms.journal import DONE, STEP, note

TRIALS, STEPS, SAVED_EVERY = 6, 16, 4
STEP_SECONDS = 0.5
EXPERIMENT, OUTCOME, JOURNALS = "experiment", "outcome.json", "journals"


def trial_of(place: Path) -> Callable[[dict[str, Any]], None]:
    """Return the function of a trial, which writes its journal below ``place``."""

    def trial(config: dict[str, Any]) -> None:
        from ray import tune

        journal = place / JOURNALS / f"{config.get('number', 'none')}.jsonl"
        begin = 0
        if (checkpoint := tune.get_checkpoint()) is not None:
            with checkpoint.as_directory() as folder:
                begin = int((Path(folder) / "step").read_text())
        for step in range(begin + 1, STEPS + 1):
            time.sleep(STEP_SECONDS)
            note(journal, STEP, step)
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "step").write_text(str(step))
                saved = tune.Checkpoint.from_directory(folder) if step % SAVED_EVERY == 0 else None
                tune.report({"step": step}, checkpoint=saved)
        note(journal, DONE, STEPS)

    return trial


def run(place: Path) -> dict[str, Any]:
    """Restore the experiment, or begin it; return how many results Tune knows, and their configs and last steps."""
    from ray import tune

    path, trainable = place / EXPERIMENT, tune.with_resources(trial_of(place), {"cpu": 1})
    if tune.Tuner.can_restore(str(path)):
        tuner = tune.Tuner.restore(str(path), trainable, resume_unfinished=True, restart_errored=True)
    else:
        tuner = tune.Tuner(
            trainable,
            param_space={"number": tune.grid_search(list(range(TRIALS)))},
            tune_config=tune.TuneConfig(max_concurrent_trials=2),
            run_config=tune.RunConfig(name=EXPERIMENT, storage_path=str(place), verbose=0),
        )
    results = list(tuner.fit())
    return {
        "results": len(results),
        "errors": sum(result.error is not None for result in results),
        "configs": [result.config for result in results],
        "steps": [(result.metrics or {}).get("step") for result in results],
    }


def main(place: Path, ray_folder: Path) -> None:
    """Run the experiment on a local Ray."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=str(ray_folder))
    try:
        (place / OUTCOME).write_text(json.dumps(run(place)))
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
