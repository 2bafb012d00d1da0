"""Which settings of a recipe's grid to try next, by Optuna's TPE: a function of what those before them have reached.

Settings are tried in batches, each with all its seeds. Before each batch a study is made in memory from the settings
tried so far, with a seed of its own, so the same recipe proposes the same settings whenever it was stopped (ADR 10).
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from orchestrator.axes import METHOD, Axis, Point, Space, nearest
from orchestrator.racing import Scores, worth

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution

Lost = Collection[tuple[str, int]]
"""Runs (setting, seed) that failed and cannot be had now."""
History = tuple[tuple[int, float | None], ...]
"""The points tried so far, in their order: number and value, None where a run of it failed."""
STARTUP = 4  # settings with a value before the sampler believes them; until then it draws at random
ASKS = 8  # proposals to hear before the nearest setting that is left is taken in their place


@dataclass(frozen=True)
class Search:
    """The settings of a task by name, where they lie, and the seeds; ``trials`` of them are tried, ``batch`` at a time.

    ``seed`` draws the proposals; tasks have seeds of their own (``seed_of``).
    """

    settings: tuple[str, ...]
    space: Space
    seeds: tuple[int, ...]
    trials: int
    batch: int
    seed: int


@dataclass(frozen=True)
class Tried:
    """Where a search stands: a pure function of its results.

    ``values`` are the settings of all batches that have ended, in their order: the mean validation accuracy over all
    seeds, None where a run failed. ``batch`` are the settings of the one that has not ended (none where the search is
    over), ``next`` the runs that it lacks, ``of`` how many settings there are.
    """

    values: Mapping[str, float | None]
    batch: tuple[str, ...]
    trials: int
    of: int
    next: tuple[tuple[str, int], ...]

    @property
    def best(self) -> tuple[str, float] | None:
        """The best setting so far and its value: the first of equals."""
        known = [(name, value) for name, value in self.values.items() if value is not None]
        return max(known, key=lambda one: one[1], default=None)


def decide(search: Search, scores: Scores, lost: Lost = ()) -> Tried:
    """Return where the search stands, gone through again from its first batch.

    Results of settings that were not proposed, of an earlier grid for instance, change nothing. A setting of which a
    run is ``lost`` has no value: the search goes on without it once its other runs are in.
    """
    history: History = ()
    batch: tuple[int, ...] = ()
    missing: list[tuple[str, int]] = []
    while len(history) < search.trials and not missing:
        amount = min(search.batch, search.trials - len(history))
        batch = _propose(search.space, history, amount, search.seed)
        runs = [(search.settings[point], seed) for point in batch for seed in search.seeds]
        missing = [run for run in runs if run not in scores and run not in lost]
        if not missing:
            history += tuple((point, _value(search, point, scores)) for point in batch)
            batch = ()
    return Tried(
        values={search.settings[point]: value for point, value in history},
        batch=tuple(search.settings[point] for point in batch),
        trials=search.trials,
        of=len(search.settings),
        next=tuple(missing),
    )


def seed_of(seed: int, *what: object) -> int:
    """Return a seed of 32 bits for ``what``, drawn from the recipe's: the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr((seed, *what)).encode()).digest()[:4], "big")


def _value(search: Search, point: int, scores: Scores) -> float | None:
    """Return the mean over the seeds, a diverged run counted as racing counts it; None where a run is not there."""
    runs = [(search.settings[point], seed) for seed in search.seeds]
    return statistics.fmean(worth(scores[run]) for run in runs) if all(run in scores for run in runs) else None


@lru_cache(maxsize=1024)  # a driver asks anew after every rung, and only the last batch is new
def _propose(space: Space, history: History, amount: int, seed: int) -> tuple[int, ...]:
    """Return the next ``amount`` points (by number): points of the grid, none tried before, none twice.

    Each method has one of the first proposals, in the order of the recipe, so that none is judged unseen.
    """
    study = _study(space, history, seed_of(seed, len(history)))
    left = set(range(len(space.points))) - {point for point, _ in history}
    found: list[int] = []
    for turn in range(len(history), len(history) + amount):
        point = _ask(study, space, left, turn if turn < len(space.own) else None)
        left.remove(point)
        found.append(point)
    return tuple(found)


def _study(space: Space, history: History, seed: int) -> Study:
    """Return a study in memory that knows what was tried; a setting without a value counts for nothing there."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # All that the proposals depend on is said here or pinned: the defaults have changed between versions.
    sampler = optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=STARTUP, n_ei_candidates=24, multivariate=True, constant_liar=True
    )
    study = optuna.create_study(
        storage=optuna.storages.InMemoryStorage(),
        sampler=sampler,
        pruner=optuna.pruners.NopPruner(),
        direction="maximize",
    )
    for point, value in history:
        if value is not None:
            _add(study, space, space.points[point], value)
    return study


def _add(study: Study, space: Space, point: Point, value: float | None) -> None:
    """Put a point into the study: with its value, or as one whose value is awaited."""
    from optuna.trial import TrialState, create_trial

    axes = {axis.name: axis for axis in space.axes(dict(point).get(METHOD, 0))}
    study.add_trial(
        create_trial(
            state=TrialState.RUNNING if value is None else TrialState.COMPLETE,
            value=value,
            params=dict(point),
            distributions={name: _distribution(axes[name]) for name in dict(point)},
        )
    )


def _ask(study: Study, space: Space, left: Collection[int], method: int | None) -> int:
    """Return the point (of those ``left``) that the sampler proposes; it is in the study then, as awaited.

    A sampler that knows no grid may propose what was tried, or what the recipe does not have. It is asked again, then
    the nearest to its first word is taken.
    """
    from optuna.trial import TrialState

    numbers = {space.points[number]: number for number in left}
    first: Point | None = None
    for _ in range(ASKS):
        if method is not None and any(axis.name == METHOD for axis in space.shared):
            study.enqueue_trial({METHOD: method})
        trial = study.ask()
        point = _suggested(trial, space)
        if point in numbers:
            return numbers[point]
        first = first or point
        study.tell(trial, state=TrialState.FAIL)
    number = nearest(space, first or (), left)
    _add(study, space, space.points[number], None)
    return number


def _suggested(trial: Trial, space: Space) -> Point:
    """Return the sampler's place on each shared axis, and on those of the method that it has chosen."""
    shared = tuple((axis.name, _suggest(trial, axis)) for axis in space.shared)
    own = space.own[dict(shared).get(METHOD, 0)]
    return shared + tuple((axis.name, _suggest(trial, axis)) for axis in own)


def _suggest(trial: Trial, axis: Axis) -> int:
    if axis.ordered:
        return trial.suggest_int(axis.name, 0, axis.size - 1)
    return int(trial.suggest_categorical(axis.name, range(axis.size)))


def _distribution(axis: Axis) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    return IntDistribution(0, axis.size - 1) if axis.ordered else CategoricalDistribution(range(axis.size))
