"""The settings that Optuna's TPE proposes next; the only module that imports Optuna."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import lru_cache
from typing import TYPE_CHECKING

from orchestrator.search.space import METHOD, Axis, Point, Space, nearest

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution


History = tuple[tuple[int, float | None], ...]
"""The points tried so far, in their order: number and value, None where a run of the setting failed."""
STARTUP = 4  # settings with a value from which on the sampler models them; with fewer settings it draws at random
ASKS = 8  # useless proposals in a row, after which the point nearest to the first of them is taken


def seed_of(seed: int, *what: object) -> int:
    """Return a seed of 32 bits, the hash of the recipe's ``seed`` and ``what`` it is for: the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr((seed, *what)).encode()).digest()[:4], "big")


@lru_cache(maxsize=1024)  # a driver asks for all batches after every round, and only the last batch is new
def propose(space: Space, history: History, amount: int, seed: int) -> tuple[int, ...]:
    """Return the numbers of the next ``amount`` points of the grid: different points that were not tried before.

    Each method has one of the first proposals, in the order of the recipe, so that no method is passed over unseen.
    """
    study = study_of(space, history, seed_of(seed, len(history)))
    left = set(range(len(space.points))) - {point for point, _ in history}
    proposed: list[int] = []
    for turn in range(len(history), len(history) + amount):
        point = _ask(study, space, left, turn if turn < len(space.own) else None)
        left.remove(point)
        proposed.append(point)
    return tuple(proposed)


def study_of(space: Space, history: History, seed: int) -> Study:
    """Return a study in memory with the points tried so far; points without a value are left out."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # All that the proposals depend on is given here or pinned: the defaults have changed between versions.
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
    """Put a point into the study: with its value, or without a value as a point whose value is awaited."""
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
    """Return the point (of those ``left``) that the sampler proposes; the study then awaits its value.

    The sampler does not know which points the grid has and which were tried. So it is asked up to ``ASKS`` times; if
    none of its proposals is left to try, the point nearest to its first proposal is taken. ``method`` is the number of
    the method that the point must have, None for any.
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
    """Return the sampler's index on each shared axis, and on each axis of the method that it has chosen."""
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
