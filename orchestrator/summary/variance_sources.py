"""Where the variance of an accuracy comes from: initialisation, data order, and which items were asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import chain, combinations

import numpy as np
from numpy.typing import NDArray

from orchestrator.summary.comparisons import Marks, mark
from orchestrator.summary.schema import Predictions, ResultRow, Source, Sources

AXES = ("init_seed", "data_seed")
"""The seed axes that a row may name; a row with one seed for both has the axis ``seed``."""
EVALUATION = "evaluation"

ROUNDING = 1e-15
"""Estimates are means of squared shares; rounding alone may take an estimate this far from 0."""

Effect = frozenset[str]
Between = Callable[[int, int], float]


def variance_sources(rows: Sequence[ResultRow], predictions: Predictions) -> Sources | None:
    """Return the variance of one run's accuracy by its source, from the rows of one task, method and rate.

    The model: a right or wrong answer is a mean plus a random effect of each seed axis, of their interaction, of the
    item, and of what is left. For two runs that differ in the axes U, with w and l items that only one of them has
    right, ``((w - l) ** 2 - (w + l)) / (2 * items * (items - 1))`` has as its expectation the sum of the variances of
    all seed effects that involve an axis in U; the variance of the items is already subtracted. Means over all pairs of
    runs estimate these sums, and differences of the sums are the components (Koch 1967, A general approach to the
    estimation of variance components, Technometrics 9). On a full grid the components are the ANOVA estimators; a grid
    with gaps needs no other formula. ``evaluation`` is the mean over runs of ``accuracy * (1 - accuracy) / (items -
    1)``: the variance that other items from the same source would bring.

    Without predictions a pair of runs gives ``(difference of accuracies) ** 2 / 2``, and the seeds' components contain
    the interaction of seeds and items. A negative estimate is reported as 0, marked ``truncated``, and named in
    ``notes``. Axes that no two runs tell apart are one joint source. None without a committed run.

    Raises:
        ValueError: for rows of several settings, for two runs with the same seeds, and for runs that answered
            different items.
    """
    done = [row for row in rows if row["status"] == "committed"]
    if not done:
        return None
    _same_setting(done)
    named = _axes(done)
    levels = {axis: sorted({row[axis] for row in done}) for axis in named}
    axes = [axis for axis in named if len(levels[axis]) > 1]
    done.sort(key=lambda row: tuple(row[axis] for axis in named))
    right_RI = _right(done, predictions)
    notes = [f"{axis} has one level, so its variance is not in these figures." for axis in named if axis not in axes]
    sources = [_source(name, estimate) for name, estimate in _estimates(done, axes, right_RI, notes).items()]
    notes += [
        f"The estimate of {source['source']} is {source['estimate']:.3g}, below 0, and counts as 0: it is too small to "
        "be seen in so few runs."
        for source in sources
        if source["truncated"]
    ]
    return {
        "runs": len(done),
        "items": None if right_RI is None else right_RI.shape[1],
        "levels": {axis: len(seeds) for axis, seeds in levels.items()},
        "sources": sources,
        "notes": notes,
    }


def _estimates(
    rows: Sequence[ResultRow], axes: Sequence[str], right_RI: NDArray[np.float64] | None, notes: list[str]
) -> dict[str, float]:
    """Return the estimate of every source by its name; ``notes`` name the sources that have no estimate."""
    if right_RI is None:
        estimates = _by_effect(rows, axes, _between_accuracies(rows), notes)
        notes.append("Without predictions of every run, evaluation sampling is not told from the seeds.")
        return estimates
    estimates = _by_effect(rows, axes, _between_answers(right_RI), notes)
    share_R = right_RI.mean(axis=1)
    estimates[EVALUATION] = float((share_R * (1 - share_R)).mean() / (right_RI.shape[1] - 1))
    return estimates


def _axes(rows: Sequence[ResultRow]) -> list[str]:
    there = [axis for axis in AXES if all(row.get(axis) is not None for row in rows)]
    return there or ["seed"]


def _by_effect(rows: Sequence[ResultRow], axes: Sequence[str], between: Between, notes: list[str]) -> dict[str, float]:
    """Return the estimate of every effect that the runs tell apart, by its name."""
    pairs: dict[Effect, list[float]] = {}
    for i, j in combinations(range(len(rows)), 2):
        differ = frozenset(axis for axis in axes if rows[i][axis] != rows[j][axis])
        if not differ:
            raise ValueError(f"Runs {rows[i]['run_key']} and {rows[j]['run_key']} have the same seeds: one is enough.")
        pairs.setdefault(differ, []).append(between(i, j))
    sums = {differ: float(np.mean(values)) for differ, values in pairs.items()}
    effects = [effect for effect in _subsets(axes) if effect]
    if all(effect in sums for effect in effects):
        return {_name(effect, axes): _component(effect, axes, sums) for effect in effects}
    missing = [" and ".join(sorted(effect)) for effect in effects if effect not in sums]
    notes.append(f"No two runs differ in {' alone, or in '.join(missing)} alone, so the seeds are one joint source.")
    joint = sums.get(frozenset(axes))
    values = list(chain.from_iterable(pairs.values()))
    return {" and ".join(axes): joint if joint is not None else float(np.mean(values))}


def _component(effect: Effect, axes: Sequence[str], sums: dict[Effect, float]) -> float:
    """Solve ``sums[U] = sum of the components of all effects that meet U`` for one effect (Moebius inversion)."""
    whole = frozenset(axes)
    within = {inner: sums[whole] - sums.get(whole - inner, 0.0) for inner in _subsets(sorted(effect))}
    return math.fsum(value if len(effect - inner) % 2 == 0 else -value for inner, value in within.items())


def _subsets(axes: Sequence[str]) -> list[Effect]:
    return [frozenset(some) for size in range(len(axes) + 1) for some in combinations(axes, size)]


def _name(effect: Effect, axes: Sequence[str]) -> str:
    return " x ".join(axis for axis in axes if axis in effect)


def _between_answers(right_RI: NDArray[np.float64]) -> Between:
    """Return the function of two runs that estimates their seeds' variance, from their answers."""
    items = right_RI.shape[1]
    both_RR = right_RI @ right_RI.T
    own_R = np.diag(both_RR)

    def between(i: int, j: int) -> float:
        discordant = own_R[i] + own_R[j] - 2 * both_RR[i, j]
        return float(((own_R[i] - own_R[j]) ** 2 - discordant) / (2 * items * (items - 1)))

    return between


def _between_accuracies(rows: Sequence[ResultRow]) -> Between:
    accuracies = [float(row["accuracy"]) for row in rows]
    return lambda i, j: (accuracies[i] - accuracies[j]) ** 2 / 2


def _right(rows: Sequence[ResultRow], predictions: Predictions) -> NDArray[np.float64] | None:
    """Return 1 for right and 0 for wrong by run and item; None if a run has no predictions, or for a single item."""
    keys = [str(row["run_key"]) for row in rows]
    if not all(key in predictions for key in keys):
        return None
    marks = mark(predictions, keys)
    _same_items(marks)
    right_RI = np.array([marks[key].right for key in keys], dtype=np.float64)
    return right_RI if right_RI.shape[1] > 1 else None


def _same_items(marks: dict[str, Marks]) -> None:
    (first_key, first), *others = marks.items()
    for key, other in others:
        if not np.array_equal(first.items, other.items):
            raise ValueError(
                f"Runs {first_key} and {key} answered different items ({len(first.items)} and {len(other.items)}), so "
                "their variance has no common source. Evaluate both on the same items, or leave their predictions out."
            )


def _same_setting(rows: Sequence[ResultRow]) -> None:
    settings = {(str(row["task"]), str(row["method"]), float(row["lr"])) for row in rows}
    if len(settings) > 1:
        few = ", ".join(f"{task} / {method} / {lr:g}" for task, method, lr in sorted(settings)[:3])
        raise ValueError(f"Rows of {len(settings)} settings ({few}): give those of one task, method and rate.")


def _source(name: str, estimate: float) -> Source:
    estimate = 0.0 if abs(estimate) < ROUNDING else estimate
    variance = max(0.0, estimate)
    return {"source": name, "estimate": estimate, "variance": variance, "sd": variance**0.5, "truncated": estimate < 0}
