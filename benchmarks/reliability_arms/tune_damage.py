"""Damage the state of a Ray Tune experiment that has ended, start its driver again, and say what that does."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability_arms.damage import flips
from benchmarks.reliability_arms.marked_job import started
from benchmarks.reliability_arms.tune_job import EXPERIMENT, OUTCOME, STEPS, TRIALS
from benchmarks.reliability_arms.tune_kills import START_SECONDS, tales

Damage = Callable[[bytes, int], bytes | None]
"""Returns the damaged content, drawn by a seed; None deletes the file."""
FILES = {"tuner.pkl": "tuner.pkl", "experiment state": "experiment_state-*.json"}


@dataclass(frozen=True)
class Outcome:
    """How the driver took it: its exit code, the results that it knows, and the steps that it trained in this start."""

    code: int
    results: int
    whole: int
    steps: int
    configs: tuple[str, ...]

    def __str__(self) -> str:
        if self.code:
            return f"exit code {self.code}, an error"
        empty = sum(config == "{}" for config in self.configs)
        words = f"exit code 0, {self.whole} of {TRIALS} trials with their result, {self.steps} steps trained"
        return words + (f", {empty} new trial with an empty config" if empty else "")


DAMAGES: dict[str, Damage] = {
    "cut in half": lambda content, _seed: content[: len(content) // 2],
    "deleted": lambda _content, _seed: None,
    "one bit flipped": lambda content, seed: next(flips(content, 1, seed)),
}


def damaged(place: Path, file: str, damage: str, seed: int) -> Outcome:
    """Damage the file of the ended experiment below ``place``, start the driver, and put everything back."""
    backup = place.with_name(place.name + "-whole")
    shutil.copytree(place, backup)
    try:
        before = _steps(place)
        (place / OUTCOME).unlink()
        (state,) = (place / EXPERIMENT).glob(FILES[file])
        content = DAMAGES[damage](state.read_bytes(), seed)
        state.unlink()
        if content is not None:
            state.write_bytes(content)
        with started(place) as job:
            code = job.process.wait(START_SECONDS)
        known = json.loads((place / OUTCOME).read_text()) if code == 0 else {"steps": [], "configs": []}
        whole = sum(
            step == STEPS and bool(config) for step, config in zip(known["steps"], known["configs"], strict=True)
        )
        configs = tuple(json.dumps(config) for config in known["configs"])
        return Outcome(code, len(configs), whole, _steps(place) - before, configs)
    finally:
        shutil.rmtree(place)
        backup.rename(place)


def _steps(place: Path) -> int:
    return sum(tale.steps for tale in tales(place))
