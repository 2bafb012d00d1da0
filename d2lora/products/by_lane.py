"""Products of each lane's rows with the lane's own thin matrix.

The rows of all lanes are one tensor, in lane order; lane l owns ``sizes[l]`` consecutive rows. Neighbouring lanes of
equal size form a `Run`, which is one batched product. Where lanes are long and oneDNN is faster, each lane of a run is
a product of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from d2lora.products.plain import LONG, suits_onednn, times_mT

Sizes = tuple[int, ...]
"""How many rows each lane owns, in lane order."""


class Run(NamedTuple):
    """Neighbouring lanes of equal size: which lanes, which rows of the batch, and how many rows each lane has."""

    lanes: slice
    rows: slice
    size: int

    def by_lane(self, rows_MK: Tensor) -> Tensor:
        """Return the run's rows as a view of shape (N, T, K): N lanes with T rows each."""
        return rows_MK[self.rows].view(-1, self.size, rows_MK.shape[1])


@lru_cache(maxsize=1024)
def lane_runs(sizes: Sizes) -> tuple[Run, ...]:
    """Return the lanes as the fewest runs."""
    runs: list[Run] = []
    row = 0
    for lane, size in enumerate(sizes):
        if runs and runs[-1].size == size:
            runs[-1] = Run(slice(runs[-1].lanes.start, lane + 1), slice(runs[-1].rows.start, row + size), size)
        else:
            runs.append(Run(slice(lane, lane + 1), slice(row, row + size), size))
        row += size
    return tuple(runs)


def times_lanes(rows_MK: Tensor, matrices_LKJ: Tensor, sizes: Sizes) -> Tensor:
    """Return each row times its lane's matrix, of shape (M, J)."""

    def of_run(rows_NTK: Tensor, matrices_NKJ: Tensor) -> Tensor:
        if not _is_long(rows_NTK):
            return torch.bmm(rows_NTK, matrices_NKJ).flatten(0, 1)
        return joined([times_mT(rows, matrix.mT) for rows, matrix in zip(rows_NTK, matrices_NKJ, strict=True)])

    return joined([of_run(run.by_lane(rows_MK), matrices_LKJ[run.lanes]) for run in lane_runs(sizes)])


def add_times_lanes(into_MJ: Tensor, rows_MK: Tensor, matrices_LKJ: Tensor, sizes: Sizes) -> None:
    """Add each row times its lane's matrix to ``into_MJ``, in place."""
    for run in lane_runs(sizes):
        run.by_lane(into_MJ).baddbmm_(run.by_lane(rows_MK), matrices_LKJ[run.lanes])


def outer_lanes(left_MK: Tensor, right_MJ: Tensor, sizes: Sizes) -> Tensor:
    """Return ``left^T right`` over each lane's rows, of shape (L, K, J)."""

    def of_run(left_NTK: Tensor, right_NTJ: Tensor) -> Tensor:
        if not _is_long(left_NTK):
            return torch.bmm(left_NTK.mT, right_NTJ)
        return torch.stack([times_mT(left.mT, right.mT) for left, right in zip(left_NTK, right_NTJ, strict=True)])

    return joined([of_run(run.by_lane(left_MK), run.by_lane(right_MJ)) for run in lane_runs(sizes)])


def scale_lanes(rows_MK: Tensor, scale_LK: Tensor, sizes: Sizes, into_MK: Tensor) -> Tensor:
    """Write each row times its lane's scale into ``into_MK``, which may be ``rows_MK`` itself, and return it."""
    for run in lane_runs(sizes):
        torch.mul(run.by_lane(rows_MK), scale_LK[run.lanes, None], out=run.by_lane(into_MK))
    return into_MK


def lane_sums(rows_MK: Tensor, sizes: Sizes) -> Tensor:
    """Return the sum of each lane's rows, of shape (L, K)."""
    return joined([run.by_lane(rows_MK).sum(1) for run in lane_runs(sizes)])


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Return the parts along their first dimension; a single part is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _is_long(rows_NTK: Tensor) -> bool:
    return suits_onednn(rows_NTK) and rows_NTK.shape[1] >= LONG
