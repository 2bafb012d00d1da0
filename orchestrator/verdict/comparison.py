"""Tonight alone against the baseline: fixed seeds paired on items and seeds, fresh seeds against all seeds so far.

Both parts give a normal score, and Stouffer's weighted sum joins them. Negative scores speak of a loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.statistics.estimate import Estimate, joined, joined_score, lower_p, two_sample
from orchestrator.statistics.two_way import grid_mean
from orchestrator.verdict.scores import Array, Scores


@dataclass(frozen=True)
class Comparison:
    """Per series of scores (all cells, then the joint one) its score; nan where it was not looked at.

    A cell whose bytes are equal is not looked at, because equal bytes are neither worse nor better. ``estimates`` are
    those of the cells, also of unmoved ones, whose fixed seeds differ by exactly 0.
    """

    scores: Array
    weights: Array
    estimates: tuple[Estimate | None, ...]

    def p(self, sign: int) -> float | None:
        """Return the p of tonight against "no gain" (``sign`` 1) or "no loss" (-1), corrected over series of scores."""
        each = self.p_values(sign)
        return min(1.0, float(np.nanmin(each))) if np.isfinite(each).any() else None

    def p_values(self, sign: int) -> Array:
        """Return the p of every series of scores, divided by its weight (Bonferroni); nan where not looked at."""
        pairs = zip(self.scores, self.weights, strict=True)
        return np.array([lower_p(-sign * score) / weight if weight > 0 else math.nan for score, weight in pairs])


def compare(scores: Scores, moved: NDArray[np.bool_]) -> Comparison:
    """Compare tonight with the baseline; ``moved`` tells the cells whose bytes differ from the baseline's."""
    values, weights, floors = scores.with_joint(moved)
    grids = [_grid(scores, cell) for cell in range(len(scores.cells))]
    tested = np.full(len(values), np.nan)
    estimates: list[Estimate | None] = []
    for series in range(len(values)):
        is_cell = series < len(scores.cells)
        fixed = _fixed_part(scores, grids, moved, series)
        fresh = _fresh_part(values[series], scores.fixed_of(series, moved), float(floors[series]))
        parts = [part for part in (fixed, fresh) if part is not None]
        if is_cell:
            estimates.append(joined([e for e, _ in parts], [n for _, n in parts]) if parts else None)
        if parts and weights[series] > 0:
            tested[series] = joined_score([e.score for e, _ in parts], [n for _, n in parts])
    return Comparison(tested, weights, tuple(estimates))


def _grid(scores: Scores, cell: int) -> Array | None:
    """Return tonight minus the baseline per item and fixed seed; the baseline is the mean over its distinct bytes."""
    columns = [now - before for before, now in scores.before_and_now[cell]]
    return np.stack(columns, axis=1) if columns else None


def _fixed_part(
    scores: Scores, grids: list[Array | None], moved: NDArray[np.bool_], series: int
) -> tuple[Estimate, int] | None:
    """Return the estimate on fixed seeds with their number.

    For the joint series: per task the mean over methods as one grid, then the mean over tasks.
    """
    if series < len(scores.cells):
        grid = grids[series]
        return None if grid is None or len(grid) < 2 else (grid_mean(grid), grid.shape[1])
    tasks: dict[str, list[Array]] = {}
    for cell, grid, on in zip(scores.cells, grids, moved, strict=True):
        if on and grid is not None:
            tasks.setdefault(cell[0], []).append(grid)
    means = []
    for of_task in tasks.values():
        seeds = min(grid.shape[1] for grid in of_task)
        means.append(grid_mean(np.mean([grid[:, :seeds] for grid in of_task], axis=0)))
    fewest = min((grid.shape[1] for of_task in tasks.values() for grid in of_task), default=0)
    return (joined(means), fewest) if means else None


def _fresh_part(values_NF: Array, fixed: list[float], floor: float) -> tuple[Estimate, int] | None:
    """Return the estimate on tonight's fresh seeds against all seeds of the baseline, with tonight's number."""
    tonight = values_NF[-1][np.isfinite(values_NF[-1])]
    before = values_NF[:-1][np.isfinite(values_NF[:-1])]
    estimate = two_sample(tonight.tolist(), [*before.tolist(), *fixed], floor)
    return None if estimate is None else (estimate, len(tonight))
