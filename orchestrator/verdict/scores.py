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

from orchestrator.verdict.night import CanaryRun, Cell, Night

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
    ``floor_C`` is one item: the least standard deviation that is believed.
    """

    cells: tuple[Cell, ...]
    baseline: tuple[Night, ...]
    tonight: Night
    fresh_CNF: Array
    versions: tuple[dict[int, list[CanaryRun]], ...]
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

    def fixed_of(self, series: int, joint: NDArray[np.bool_]) -> list[float]:
        """Return the baseline's accuracies of the fixed seeds for a series of scores; the last one joins ``joint``."""
        if series < len(self.cells):
            return self.fixed(series)
        chosen = [self.fixed(int(cell)) for cell in np.flatnonzero(joint)]
        return [statistics.fmean(of_seed) for of_seed in zip(*chosen, strict=False)]

    def fixed(self, cell: int) -> list[float]:
        """Return the baseline's accuracies of a cell's fixed seeds, each the mean over the distinct bytes."""
        return [math.fsum(run.accuracy for run in runs) / len(runs) for runs in self.versions[cell].values()]

    @cached_property
    def before_and_now(self) -> list[list[tuple[Array, Array]]]:
        """Per cell and fixed seed the share of the baseline's bytes that were right on each item, and tonight's marks."""
        return [self._pairs(cell) for cell in range(len(self.cells))]

    def _pairs(self, cell: int) -> list[tuple[Array, Array]]:
        pairs = []
        for seed, run in sorted(self.tonight.fixed[self.cells[cell]].items()):
            before = self.versions[cell].get(seed, [])
            if before and len(before[0].right) == len(run.right):
                pairs.append((np.array([one.right_I for one in before]).mean(axis=0), run.right_I.astype(np.float64)))
        return pairs

    @cached_property
    def nights_C(self) -> NDArray[np.int64]:
        """On how many nights of the baseline each cell has a result."""
        counts = _nights_per_cell(self.baseline)
        return np.array([counts[cell] for cell in self.cells])


def scores_of(baseline: Sequence[Night], tonight: Night) -> Scores:
    """Return the scores of all cells that have a result tonight and on most nights of the baseline."""
    cells, nights = compared_cells(baseline, tonight), [*baseline, tonight]
    rows = [_row(night, cells) for night in nights]
    widest = max((fresh.shape[1] for fresh, _ in rows), default=0)
    fresh = np.full((len(nights), len(cells), widest), np.nan)
    for n, (values, _) in enumerate(rows):
        fresh[n, :, : values.shape[1]] = values
    digests = np.stack([digests for _, digests in rows])
    moved = np.zeros((len(cells), len(nights)), dtype=np.bool_)
    moved[:, 1:] = (digests[1:] != digests[:-1]).T
    versions = _versions(baseline[-VERSIONS:], cells)
    floor = np.array([1 / len(next(iter(tonight.fixed[cell].values())).right) for cell in cells])
    return Scores(
        cells, tuple(baseline), tonight, np.ascontiguousarray(fresh.transpose(1, 0, 2)), versions, moved, floor
    )


def compared_cells(baseline: Sequence[Night], tonight: Night) -> tuple[Cell, ...]:
    """Return the cells with a result tonight and on at least the `SHARE` of the baseline's nights."""
    counts = _nights_per_cell(baseline)
    return tuple(cell for cell in tonight.table.cells if counts[cell] >= max(1, SHARE * len(baseline)))


def _nights_per_cell(nights: Sequence[Night]) -> Counter[Cell]:
    counts: Counter[Cell] = Counter()
    for cells, times in Counter(night.table.cells for night in nights).items():
        counts.update(dict.fromkeys(cells, times))
    return counts


def _row(night: Night, cells: tuple[Cell, ...]) -> tuple[Array, NDArray[np.object_]]:
    """Return the fresh accuracies and the digests of these cells; a cell without a result has nan and None."""
    table = night.table
    if table.cells == cells:
        return table.fresh_CF, table.digests_C
    fresh, digests = np.full((len(cells), table.fresh_CF.shape[1]), np.nan), np.empty(len(cells), dtype=object)
    for c, cell in enumerate(cells):
        if cell in table.cells:
            at = table.cells.index(cell)
            fresh[c], digests[c] = table.fresh_CF[at], table.digests_C[at]
    return fresh, digests


def _versions(nights: Sequence[Night], cells: Sequence[Cell]) -> tuple[dict[int, list[CanaryRun]], ...]:
    """Return per cell and fixed seed one run of each distinct bytes."""
    seen: list[dict[int, dict[str, CanaryRun]]] = [{} for _ in cells]
    for night in nights:
        for of_cell, cell in zip(seen, cells, strict=True):
            for seed, run in night.fixed.get(cell, {}).items():
                of_cell.setdefault(seed, {}).setdefault(run.digest, run)
    return tuple({seed: list(runs.values()) for seed, runs in sorted(of_cell.items())} for of_cell in seen)
