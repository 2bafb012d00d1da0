"""Pure: which settings of a race are shown to be worse than its leader, and which seeds are worth training next.

All settings share their seeds. At a look, each is compared with the leader (the best mean so far) over the first n
seeds by the one-sided paired t interval, and is dropped where that lies below zero. Look k may err with probability
``alpha / (k (k + 1))``, which sums to ``alpha`` however many looks follow, so seeds may be added later; it is shared
among the settings still in and their K - 1 possible leaders. By the union bound no setting as good as the best is
dropped, in the whole race, with probability ``1 - alpha`` or more, whatever the variances (ADR 9).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from orchestrator.search.standing import Scores, worth
from orchestrator.statistics.thresholds import ROUNDING

Outcome = Literal["open", "waiting", "one left", "close enough", "seeds spent"]
DECIDED: tuple[Outcome, ...] = ("one left", "close enough", "seeds spent")


@dataclass(frozen=True)
class Race:
    """Settings in the recipe's order, and the seeds in the order in which they are spent; ``resolve`` is a share."""

    settings: tuple[str, ...]
    seeds: tuple[int, ...]
    alpha: float = 0.05
    first: int = 3
    resolve: float = 0.0


@dataclass(frozen=True)
class Gap:
    """Accuracy of a setting minus the leader's, as shares: the mean, and what it is below at the look's level."""

    mean: float
    high: float


@dataclass(frozen=True)
class Dropped:
    """Why a setting is out: after so many seeds it was shown to be worse than the leader of then."""

    seeds: int
    leader: str
    gap: Gap


@dataclass(frozen=True)
class Decision:
    """Where a race stands: a pure function of its results.

    ``looked`` is the number of seeds at the last look (0 before the first), ``gaps`` are those of the settings that it
    left in. ``waiting`` are settings that cannot go on because a run of theirs failed. ``next`` are the runs to train.
    """

    outcome: Outcome
    looked: int
    leader: str | None
    active: tuple[str, ...]
    waiting: tuple[str, ...]
    dropped: Mapping[str, Dropped]
    gaps: Mapping[str, Gap]
    next: tuple[tuple[str, int], ...]


def decide(race: Race, scores: Scores, lost: Collection[tuple[str, int]] = ()) -> Decision:
    """Return where the race stands; ``lost`` are runs (setting, seed) that failed and cannot be had now.

    The race is run again from its first look with the scores that belong there: results of later seeds, of an earlier
    grid for instance, change no decision.
    """
    stand = Decision("open", 0, None, race.settings, (), {}, {}, ())
    for seeds in range(min(race.first, len(race.seeds)), len(race.seeds) + 1):
        stand = _arrive(stand, race.seeds[:seeds], scores, lost)
        if stand.next:
            return stand
        ready = [setting for setting in stand.active if setting not in stand.waiting]
        if seeds < len(race.seeds) and len(ready) > 1:
            stand = _look(race, stand, ready, seeds, scores)
        outcome = _outcome(race, stand, seeds)
        if outcome != "open":
            return replace(stand, outcome=outcome)
    return stand


def share_of(race: Race, look: int, active: int) -> float:
    """Return the one-sided error that one comparison of look 1, 2, ... may make while ``active`` settings are in."""
    return race.alpha / (look * (look + 1)) / (active * (len(race.settings) - 1))


def _arrive(stand: Decision, seeds: Sequence[int], scores: Scores, lost: Collection[tuple[str, int]]) -> Decision:
    """Return the decision with what is missing for the look at these seeds; who has lost a run waits."""
    missing = [(setting, seed) for setting in stand.active for seed in seeds if (setting, seed) not in scores]
    waiting = {setting for setting, seed in missing if (setting, seed) in lost}
    wanted = tuple(pair for pair in missing if pair[0] not in waiting)
    return replace(stand, waiting=tuple(one for one in stand.active if one in waiting), next=wanted)


def _look(race: Race, stand: Decision, ready: Sequence[str], seeds: int, scores: Scores) -> Decision:
    """Return the decision after comparing everyone who is ready with the leader on the first ``seeds`` seeds."""
    table = np.array([[worth(scores[setting, seed]) for seed in race.seeds[:seeds]] for setting in ready])
    best = int(table.mean(axis=1).argmax())  # the first of equals, so that the order of the recipe decides
    means, errors = _compare(table, best)
    look, active, dropped = seeds - race.first + 1, list(stand.active), dict(stand.dropped)
    while True:  # who goes leaves their share of the error to those who stay
        critical = _critical(share_of(race, look, len(active)), seeds - 1)
        gaps = {
            setting: Gap(float(mean), float(mean + critical * error))
            for setting, mean, error in zip(ready, means, errors, strict=True)
            if setting in active and setting != ready[best]
        }
        worse = {setting: Dropped(seeds, ready[best], gap) for setting, gap in gaps.items() if gap.high < -ROUNDING}
        if not worse:
            return replace(stand, looked=seeds, leader=ready[best], active=tuple(active), dropped=dropped, gaps=gaps)
        dropped |= worse
        active = [setting for setting in active if setting not in worse]


def _compare(table: NDArray[np.float64], best: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean difference of each row (a setting, by seed) to row ``best``, and its standard error.

    The standard deviation is at least the smallest step between two accuracies: they are counts, and a few that agree
    to the last item do not show that there is no spread.
    """
    steps = np.diff(np.unique(table))
    step = steps[steps > ROUNDING].min(initial=math.inf)
    differences = table - table[best]
    spread = np.maximum(differences.std(axis=1, ddof=1), step if math.isfinite(step) else 0.0)
    return differences.mean(axis=1), spread / math.sqrt(table.shape[1])


@cache
def _critical(share: float, freedom: int) -> float:
    """Return the t that a comparison without a difference exceeds with this probability."""
    return float(stats.t.isf(share, freedom))


def _outcome(race: Race, stand: Decision, seeds: int) -> Outcome:
    """Return whether the race is over; it is not while a setting waits that could still win."""
    over: Outcome = "open"
    if len(stand.active) - len(stand.waiting) <= 1:
        over = "one left"
    elif seeds == len(race.seeds):
        over = "seeds spent"
    elif race.resolve > 0 and all(gap.high <= race.resolve for gap in stand.gaps.values()):
        over = "close enough"
    return "waiting" if over != "open" and stand.waiting else over
