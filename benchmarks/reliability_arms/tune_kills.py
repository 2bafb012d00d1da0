"""Kill the driver of a plain Ray Tune experiment again and again, start it anew each time, and count what follows."""

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.reliability_arms.journal import Told, read, told
from benchmarks.reliability_arms.marked_job import MarkedJob, started
from benchmarks.reliability_arms.tune_job import JOURNALS, OUTCOME, STEP_SECONDS, STEPS, TRIALS

AFTER_AN_END = 1.5  # seconds between the end of a trial and the kill, of every second kill
START_SECONDS = 300.0  # the longest that one start may take


@dataclass
class Card:
    """What kills did to experiments.

    ``ended`` are trials that had ended when a driver was killed, ``again`` how often a trial began to train after its
    end, ``repeated`` steps that were done more than once, ``lost`` trials without a result at the end. ``orphans`` are
    processes that were left 30 s after a kill, and ``recoveries`` the seconds from a kill to the next step of a trial.
    """

    kills: int = 0
    ended: int = 0
    again: int = 0
    repeated: int = 0
    lost: int = 0
    orphans: int = 0
    recoveries: list[float] = field(default_factory=list)


def kill_until_done(place: Path, kills: int, seed: int, card: Card) -> None:
    """Start the experiment until it ends by itself, kill its driver in the first starts, and add to the card."""
    drawn, struck = random.Random(seed), None  # noqa: S311 (draws instants, no secrets)
    for number in range(kills + 1):
        steps, ends = _done(place)
        (place / OUTCOME).unlink(missing_ok=True)
        with started(place) as job:
            if _wait(job, partial(_went_on, place, steps)) and struck is not None:
                card.recoveries.append(time.monotonic() - struck)
            struck = None
            if number < kills and _instant(job, place, ends, drawn, after_an_end=number % 2 == 1):
                job.process.kill()
                struck, card.kills = time.monotonic(), card.kills + 1
                card.ended += sum(tale.ends > 0 for tale in tales(place))
            job.process.wait(START_SECONDS)
            card.orphans += job.left()
        if struck is None:
            break
    known = json.loads((place / OUTCOME).read_text())["steps"]
    card.again += sum(tale.again for tale in tales(place))
    card.repeated += sum(tale.repeated for tale in tales(place))
    card.lost += TRIALS - sum(step == STEPS for step in known)


def tales(place: Path) -> list[Told]:
    """Return what the journals of all trials tell."""
    return [told(read(file)) for file in sorted((place / JOURNALS).glob("*.jsonl"))]


def _done(place: Path) -> tuple[int, int]:
    """Return how many steps and how many ends the journals have."""
    of_all = tales(place)
    return sum(tale.steps for tale in of_all), sum(tale.ends for tale in of_all)


def _went_on(place: Path, steps: int) -> bool:
    return _done(place)[0] > steps


def _instant(job: MarkedJob, place: Path, ends: int, drawn: random.Random, *, after_an_end: bool) -> bool:
    """Wait for the instant of a kill; return False if the job has ended before."""
    seconds = drawn.uniform(0, 2 * STEPS * STEP_SECONDS)
    if after_an_end:
        seconds = AFTER_AN_END
        if not _wait(job, lambda: _done(place)[1] > ends):
            return False
    end = time.monotonic() + seconds
    return not _wait(job, lambda: job.ended or time.monotonic() > end) or not job.ended


def _wait(job: MarkedJob, true: Callable[[], bool]) -> bool:
    """Wait until it is true; return False if the job has ended before, TimeoutError after `START_SECONDS`."""
    end = time.monotonic() + START_SECONDS
    while not job.ended:
        if true():
            return True
        if time.monotonic() > end:
            raise TimeoutError(f"the experiment has done nothing for {START_SECONDS:g} s: {job.process.args!r}")
        time.sleep(0.1)
    return False
