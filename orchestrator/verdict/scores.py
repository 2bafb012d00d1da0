"""The accuracies of the baseline and of tonight as one array, per cell and for all cells that moved together.

What is tested is called a series of scores here: one per cell, and, where two cells or more moved, one more for their
mean at every seed. The mean per seed keeps what a seed does to several cells in one number, so it needs no assumption
about how cells hang together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.verdict.night import Cell, Night

Array = NDArray[np.float64]
VERSIONS = 30
"""The newest nights whose distinct bytes stand for the baseline's fixed runs."""
SHARE = 0.5
"""A cell is compared if it has a result on this share of the baseline's nights."""


@dataclass(frozen=True)
class Scores:
    """``fresh_CNF`` are the accuracies of the fresh seeds per cell and night, tonight last; nan is no run.

    ``fixed`` has per cell the accuracies of the fixed seeds in the baseline, each the mean over the distinct bytes.
    ``moved_CN`` tells whether the bytes of a cell differ from those of the night before; never on the first night.
    ``floor_C`` is one item: the least standard deviation that is believed.
    """

    cells: tuple[Cell, ...]
    baseline: tuple[Night, ...]
    tonight: Night
    fresh_CNF: Array
    fixed: tuple[tuple[float, ...], ...]
    moved_CN: NDArray[np.bool_]
    floor_C: Array

    def with_joint(self, joint: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
        """Return accuracies, weights and floors of all series of scores; the last one joins the cells of ``joint``.

        The weights sum to 1: half for the joint series, half for its cells. A single cell needs no joint series. Cells
        outside of ``joint`` have weight 0.
        """
        size = int(joint.sum())
        if size < 2:
            return self.fresh_CNF, joint.astype(np.float64), self.floor_C
        together = self.fresh_CNF[joint].mean(axis=0, keepdims=True)
        floor = math.sqrt(float((self.floor_C[joint] ** 2).sum())) / size
        weights = np.append(np.where(joint, 0.5 / size, 0.0), 0.5)
        return np.concatenate([self.fresh_CNF, together]), weights, np.append(self.floor_C, floor)

    def fixed_of(self, series: int, joint: NDArray[np.bool_]) -> tuple[float, ...]:
        """Return the baseline's accuracies of the fixed seeds for a series of scores."""
        if series < len(self.cells):
            return self.fixed[series]
        chosen = [values for values, on in zip(self.fixed, joint, strict=True) if on]
        return tuple(float(np.mean(values)) for values in zip(*chosen, strict=False))


def scores_of(baseline: Sequence[Night], tonight: Night) -> Scores:
    """Return the scores of all cells that have a result tonight and on most nights of the baseline."""
    cells = compared_cells(baseline, tonight)
    nights = [*baseline, tonight]
    widest = max((len(values) for night in nights for values in night.fresh.values()), default=0)
    fresh = np.full((len(cells), len(nights), widest), np.nan)
    moved = np.zeros((len(cells), len(nights)), dtype=np.bool_)
    for n, night in enumerate(nights):
        same = n == 0 or night.digests == nights[n - 1].digests
        for c, cell in enumerate(cells):
            values = night.fresh.get(cell, ())
            fresh[c, n, : len(values)] = values
            moved[c, n] = not same and night.digests.get(cell) != nights[n - 1].digests.get(cell)
    fixed = tuple(_fixed(baseline, cell) for cell in cells)
    floor = np.array([1 / len(next(iter(tonight.fixed[cell].values())).right) for cell in cells])
    return Scores(cells, tuple(baseline), tonight, fresh, fixed, moved, floor)


def compared_cells(baseline: Sequence[Night], tonight: Night) -> tuple[Cell, ...]:
    """Return the cells with a result tonight and on at least the `SHARE` of the baseline's nights."""
    return tuple(
        cell
        for cell in sorted(tonight.fixed)
        if baseline and sum(cell in night.fixed for night in baseline) >= SHARE * len(baseline)
    )


def versions(baseline: Sequence[Night], cell: Cell, seed: int) -> list[Array]:
    """Return the right marks of a fixed run per distinct bytes of the newest nights."""
    seen: dict[str, Array] = {}
    for night in baseline[-VERSIONS:]:
        run = night.fixed.get(cell, {}).get(seed)
        if run is not None and run.digest not in seen:
            seen[run.digest] = run.right_I
    return list(seen.values())


def _fixed(baseline: Sequence[Night], cell: Cell) -> tuple[float, ...]:
    seeds = sorted({seed for night in baseline[-VERSIONS:] for seed in night.fixed.get(cell, {})})
    return tuple(float(np.mean([marks.mean() for marks in versions(baseline, cell, seed)])) for seed in seeds)
