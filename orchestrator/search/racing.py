"""Pure: which settings of a race are shown to be worse than its leader, and which seeds are worth training next.

All settings share their seeds. At a look, each setting is compared with the leader (the best mean so far) over the
first n seeds by the one-sided paired t interval, and is dropped where that interval lies below zero. Look k may err
with probability ``alpha / (k (k + 1))``. These probabilities sum to ``alpha`` however many looks follow, so seeds may
be added later. Each is shared among the settings that are not dropped and their K - 1 possible leaders. By the union
bound, the probability that the whole race drops no setting as good as the best is at least ``1 - alpha``, whatever the
variances (ADR 9).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from orchestrator.recipe.search import Racing
from orchestrator.search.standing import Lost, RunName, Scores, TaskSoFar, worth
from orchestrator.statistics.thresholds import ROUNDING
from orchestrator.wording import count, listed, points

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
    """Accuracy of a setting minus the leader's, as shares.

    ``mean`` is the mean difference over the seeds, ``high`` the upper end of its one-sided interval at the level of the
    look.
    """

    mean: float
    high: float


@dataclass(frozen=True)
class Dropped:
    """Why a setting is out: after ``seeds`` seeds it was shown to be worse than the then ``leader``, by ``gap``."""

    seeds: int
    leader: str
    gap: Gap


@dataclass(frozen=True)
class RaceStanding:
    """Where a race stands: a pure function of its results.

    ``looked`` is the number of seeds at the last look (0 before the first look). ``active`` are the settings that are
    not dropped, and ``gaps`` are their gaps at the last look. ``waiting`` are settings that cannot go on because one of
    their runs failed. ``next`` are the runs (setting, seed) to train.
    """

    outcome: Outcome
    looked: int
    leader: str | None
    active: tuple[str, ...]
    waiting: tuple[str, ...]
    dropped: Mapping[str, Dropped]
    gaps: Mapping[str, Gap]
    next: tuple[RunName, ...]

    def line(self, task: str) -> str | None:
        """Return who leads, who is out and how the race ended; None before the first look."""
        if not self.looked:
            return None
        entered = len(self.active) + len(self.dropped)
        line = f"race of {task}: {len(self.active)} of {count(entered, 'setting')} in after {_seeds(self.looked)}"
        line += f"; {self.leader} leads"
        now = [setting for setting, out in self.dropped.items() if out.seeds == self.looked]
        line += f"; dropped {listed(now)}" if now else ""
        line += f"; {listed(self.waiting)} waits for a run that failed" if self.waiting else ""
        return line + (f"; over: {self._ending()}" if self.outcome in DECIDED else "")

    def why_not(self, setting: str) -> str:
        """Return why further runs of a setting are not trained; "" while the setting may still need them."""
        if out := self.dropped.get(setting):
            gap = f"{points(out.gap.mean, 2)} points, and below {points(out.gap.high, 2)}"
            return f"Its setting was dropped after {_seeds(out.seeds)}: {gap} on validation, against {out.leader}."
        return f"Not needed: {self._ending()}." if self.outcome in DECIDED else ""

    def _ending(self) -> str:
        if self.outcome == "one left":
            return f"{self.active[0]} alone is left after {_seeds(self.looked)}"
        if self.outcome == "close enough":
            return f"no setting can be ahead of {self.leader} by more than search.resolve after {_seeds(self.looked)}"
        return "all seeds are spent"


def _seeds(number: int) -> str:
    return count(number, "seed")


def race_standing(search: Racing, task: TaskSoFar) -> RaceStanding:
    """Return where the race of a task stands; the tasks of a sweep share ``search.alpha``."""
    alpha = search.alpha / task.tasks
    race = Race(tuple(task.settings), task.seeds, alpha, search.first, search.resolve / 100)
    return decide(race, task.scores, task.lost)


def decide(race: Race, scores: Scores, lost: Lost = ()) -> RaceStanding:
    """Return where the race stands.

    The race is run again from its first look with the scores that belong to each look. Results of later seeds, for
    instance those of an earlier grid, change no decision.
    """
    standing = RaceStanding("open", 0, None, race.settings, (), {}, {}, ())
    for seeds in range(min(race.first, len(race.seeds)), len(race.seeds) + 1):
        standing = _with_missing(standing, race.seeds[:seeds], scores, lost)
        if standing.next:
            return standing
        ready = [setting for setting in standing.active if setting not in standing.waiting]
        if seeds < len(race.seeds) and len(ready) > 1:
            standing = _look(race, standing, ready, seeds, scores)
        outcome = _outcome(race, standing, seeds)
        if outcome != "open":
            return replace(standing, outcome=outcome)
    return standing


def share_of(race: Race, look: int, active: int) -> float:
    """Return the one-sided error of each comparison at look 1, 2, ..., if ``active`` settings are not dropped."""
    return race.alpha / (look * (look + 1)) / (active * (len(race.settings) - 1))


def _with_missing(standing: RaceStanding, seeds: Sequence[int], scores: Scores, lost: Lost) -> RaceStanding:
    """Return the standing with the runs that a look at these seeds lacks; a setting with a failed run waits."""
    missing = [(setting, seed) for setting in standing.active for seed in seeds if (setting, seed) not in scores]
    waiting = {setting for setting, seed in missing if (setting, seed) in lost}
    wanted = tuple(name for name in missing if name[0] not in waiting)
    return replace(standing, waiting=tuple(name for name in standing.active if name in waiting), next=wanted)


def _look(race: Race, standing: RaceStanding, ready: Sequence[str], seeds: int, scores: Scores) -> RaceStanding:
    """Return the standing after comparing each setting in ``ready`` with the leader on the first ``seeds`` seeds."""
    table = np.array([[worth(scores[setting, seed]) for seed in race.seeds[:seeds]] for setting in ready])
    best = int(table.mean(axis=1).argmax())  # the first of equals, so that the order of the recipe decides
    means, errors = _compare(table, best)
    look, active, dropped = seeds - race.first + 1, list(standing.active), dict(standing.dropped)
    while True:  # a dropped setting leaves its share of the error to the others
        critical = _critical(share_of(race, look, len(active)), seeds - 1)
        gaps = {
            setting: Gap(float(mean), float(mean + critical * error))
            for setting, mean, error in zip(ready, means, errors, strict=True)
            if setting in active and setting != ready[best]
        }
        worse = {setting: Dropped(seeds, ready[best], gap) for setting, gap in gaps.items() if gap.high < -ROUNDING}
        if not worse:
            return replace(standing, looked=seeds, leader=ready[best], active=tuple(active), dropped=dropped, gaps=gaps)
        dropped |= worse
        active = [setting for setting in active if setting not in worse]


def _compare(table: NDArray[np.float64], best: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean difference of each row to row ``best``, and its standard error, both of shape (settings,).

    ``table`` is of shape (settings, seeds). The standard deviation is taken to be at least the smallest step between
    two accuracies. Accuracies are counts of items, so a few seeds that agree to the last item do not show that there is
    no spread.
    """
    steps = np.diff(np.unique(table))
    step = steps[steps > ROUNDING].min(initial=math.inf)
    differences = table - table[best]
    spread = np.maximum(differences.std(axis=1, ddof=1), step if math.isfinite(step) else 0.0)
    return differences.mean(axis=1), spread / math.sqrt(table.shape[1])


@cache
def _critical(share: float, freedom: int) -> float:
    """Return the t that a comparison without a difference exceeds with probability ``share``."""
    return float(stats.t.isf(share, freedom))


def _outcome(race: Race, standing: RaceStanding, seeds: int) -> Outcome:
    """Return how the race ended, or "open"; "waiting" if only settings with a failed run keep it from its end."""
    over: Outcome = "open"
    if len(standing.active) - len(standing.waiting) <= 1:
        over = "one left"
    elif seeds == len(race.seeds):
        over = "seeds spent"
    elif race.resolve > 0 and all(gap.high <= race.resolve for gap in standing.gaps.values()):
        over = "close enough"
    return "waiting" if over != "open" and standing.waiting else over
