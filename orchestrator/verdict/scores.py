"""The accuracies of the baseline and of tonight as one array, per cell and for all cells that moved together.

What is tested is called a series of scores here: one per cell, and, where two cells or more moved, one more for their
mean at every seed. The mean per seed keeps what a seed does to several cells in one number, so it needs no assumption
about how cells hang together.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from orchestrator.verdict.night import CanaryRun, Cell, Night, Table

Array = NDArray[np.float64]
VERSIONS = 30
"""The newest nights whose distinct bytes stand for the baseline's fixed runs."""
SHARE = 0.5
"""A cell is compared if it has a result on this share of the baseline's nights."""


@dataclass(frozen=True)
class Scores:
    """``fresh_CNF`` are the accuracies of the fresh seeds per cell and night, tonight last; nan is no run.

    ``versions`` has per cell and fixed seed one run of each distinct bytes in the baseline.
    ``moved_CN`` tells whether the bytes of a cell differ from those of the night before; never on the first night.
    ``floor_C`` is one item: the least standard deviation that is believed. ``nights_C`` counts the nights of the
    baseline on which a cell has a result.
    """

    cells: tuple[Cell, ...]
    baseline: tuple[Night, ...]
    tonight: Night
    fresh_CNF: Array
    versions: tuple[dict[int, list[CanaryRun]], ...]
    moved_CN: NDArray[np.bool_]
    floor_C: Array
    nights_C: NDArray[np.int64]

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

    def fixed_of(self, series: int, joint: NDArray[np.bool_]) -> list[float]:
        """Return the baseline's accuracies of the fixed seeds for a series of scores; the last one joins ``joint``."""
        if series < len(self.cells):
            return self.fixed[series]
        chosen = [self.fixed[int(cell)] for cell in np.flatnonzero(joint)]
        return [statistics.fmean(of_seed) for of_seed in zip(*chosen, strict=False)]

    @cached_property
    def fixed(self) -> list[list[float]]:
        """Per cell the baseline's accuracies of its fixed seeds, each the mean over the distinct bytes."""
        return [
            [math.fsum(run.accuracy for run in runs) / len(runs) for runs in of_cell.values()]
            for of_cell in self.versions
        ]

    @cached_property
    def before_and_now(self) -> list[list[tuple[Array, Array]]]:
        """Per cell and fixed seed: per item the share of the baseline's bytes that were right, and tonight's marks."""
        return [self._pairs(cell) for cell in range(len(self.cells))]

    def _pairs(self, cell: int) -> list[tuple[Array, Array]]:
        pairs = []
        for seed, run in sorted(self.tonight.fixed[self.cells[cell]].items()):
            before = self.versions[cell].get(seed, [])
            if before and len(before[0].right) == len(run.right):
                pairs.append((np.array([one.right_I for one in before]).mean(axis=0), run.right_I.astype(np.float64)))
        return pairs


def scores_of(baseline: Sequence[Night], tonight: Night) -> Scores:
    """Return the scores of all cells that have a result tonight and on most nights of the baseline."""
    counts = _nights_per_cell(baseline, tonight.table.cells)
    cells = tuple(cell for cell in tonight.table.cells if counts[cell] >= max(1, SHARE * len(baseline)))
    tables = [_of_cells(night.table, cells) for night in (*baseline, tonight)]
    digests = np.concatenate([table.digests_C for table in tables]).reshape(len(tables), len(cells))
    moved = np.zeros((len(cells), len(tables)), dtype=np.bool_)
    moved[:, 1:] = (digests[1:] != digests[:-1]).T
    return Scores(
        cells=cells,
        baseline=tuple(baseline),
        tonight=tonight,
        fresh_CNF=_fresh(tables, len(cells)),
        versions=_versions(baseline[-VERSIONS:], cells),
        moved_CN=moved,
        floor_C=np.array([1 / len(next(iter(tonight.fixed[cell].values())).right) for cell in cells]),
        nights_C=np.array([counts[cell] for cell in cells]),
    )


def _nights_per_cell(nights: Sequence[Night], cells: tuple[Cell, ...]) -> Counter[Cell]:
    """Count the nights on which each cell has a result; most have the same cells as tonight."""
    others = [night.table.cells for night in nights if night.table.cells != cells]
    counts: Counter[Cell] = Counter(dict.fromkeys(cells, len(nights) - len(others)))
    for other in others:
        counts.update(other)
    return counts


def _of_cells(table: Table, cells: tuple[Cell, ...]) -> Table:
    """Return the rows of these cells; a cell without a result has nan and None."""
    if table.cells == cells:
        return table
    fresh, digests = np.full((len(cells), table.fresh_CF.shape[1]), np.nan), np.empty(len(cells), dtype=object)
    for c, cell in enumerate(cells):
        if cell in table.cells:
            at = table.cells.index(cell)
            fresh[c], digests[c] = table.fresh_CF[at], table.digests_C[at]
    return Table(cells, fresh, digests)


def _fresh(tables: Sequence[Table], cells: int) -> Array:
    """Return the fresh accuracies of all nights, cells x nights x runs; nan where a night has fewer runs."""
    widths = {table.fresh_CF.shape[1] for table in tables}
    widest = max(widths)
    rows = [table.fresh_CF for table in tables]
    if len(widths) > 1:
        rows = [np.pad(row, ((0, 0), (0, widest - row.shape[1])), constant_values=np.nan) for row in rows]
    return np.ascontiguousarray(np.concatenate(rows).reshape(len(tables), cells, widest).transpose(1, 0, 2))


def _versions(nights: Sequence[Night], cells: Sequence[Cell]) -> tuple[dict[int, list[CanaryRun]], ...]:
    """Return per cell and fixed seed one run of each distinct bytes."""
    seen: list[dict[int, dict[str, CanaryRun]]] = [{} for _ in cells]
    for night in nights:
        for of_cell, cell in zip(seen, cells, strict=True):
            for seed, run in night.fixed.get(cell, {}).items():
                of_cell.setdefault(seed, {}).setdefault(run.digest, run)
    return tuple({seed: list(runs.values()) for seed, runs in sorted(of_cell.items())} for of_cell in seen)
