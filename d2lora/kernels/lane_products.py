"""Products of rows with a thin matrix a lane: lane l owns ``sizes[l]`` consecutive rows.

Neighbours of equal size go through one batched product, or, where they are long and that is faster, through one each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from d2lora.kernels.products import LONG, suits_onednn, times_mT

Sizes = tuple[int, ...]


class Run(NamedTuple):
    """Neighbouring lanes of equal size, and their rows."""

    lanes: slice
    rows: slice
    size: int


def times_lanes(rows_MK: Tensor, matrices_LKJ: Tensor, sizes: Sizes) -> Tensor:
    """Return each row times its lane's matrix, of shape (M, J)."""

    def of(rows_NTK: Tensor, matrices_NKJ: Tensor) -> Tensor:
        if not _long(rows_NTK):
            return torch.bmm(rows_NTK, matrices_NKJ).flatten(0, 1)
        return _joined([times_mT(rows, matrix.mT) for rows, matrix in zip(rows_NTK, matrices_NKJ, strict=True)])

    return _joined([of(_rows(rows_MK, run), matrices_LKJ[run.lanes]) for run in lane_runs(sizes)])


def add_times_lanes(into_MJ: Tensor, rows_MK: Tensor, matrices_LKJ: Tensor, sizes: Sizes) -> None:
    """Add each row times its lane's matrix to ``into_MJ``, in place."""
    for run in lane_runs(sizes):
        _rows(into_MJ, run).baddbmm_(_rows(rows_MK, run), matrices_LKJ[run.lanes])


def outer_lanes(left_MK: Tensor, right_MJ: Tensor, sizes: Sizes) -> Tensor:
    """Return ``left^T right`` over each lane's rows, of shape (L, K, J)."""

    def of(left_NTK: Tensor, right_NTJ: Tensor) -> Tensor:
        if not _long(left_NTK):
            return torch.bmm(left_NTK.mT, right_NTJ)
        return torch.stack([times_mT(left.mT, right.mT) for left, right in zip(left_NTK, right_NTJ, strict=True)])

    return _joined([of(_rows(left_MK, run), _rows(right_MJ, run)) for run in lane_runs(sizes)])


def scale_lanes(rows_MK: Tensor, scale_LK: Tensor, sizes: Sizes, into_MK: Tensor) -> Tensor:
    """Write each row times its lane's scale into ``into_MK``, which may be the rows themselves, and return it."""
    for run in lane_runs(sizes):
        torch.mul(_rows(rows_MK, run), scale_LK[run.lanes, None], out=_rows(into_MK, run))
    return into_MK


def lane_sums(rows_MK: Tensor, sizes: Sizes) -> Tensor:
    """Return the sum of each lane's rows, of shape (L, K)."""
    return _joined([_rows(rows_MK, run).sum(1) for run in lane_runs(sizes)])


@lru_cache(maxsize=1024)
def lane_runs(sizes: Sizes) -> tuple[Run, ...]:
    """Return the lanes as few runs of neighbours with equal sizes."""
    runs: list[Run] = []
    row = 0
    for lane, size in enumerate(sizes):
        if runs and runs[-1].size == size:
            runs[-1] = Run(slice(runs[-1].lanes.start, lane + 1), slice(runs[-1].rows.start, row + size), size)
        else:
            runs.append(Run(slice(lane, lane + 1), slice(row, row + size), size))
        row += size
    return tuple(runs)


def _rows(rows_MK: Tensor, run: Run) -> Tensor:
    """Return the run's rows by lane, of shape (N, T, K)."""
    return rows_MK[run.rows].view(-1, run.size, rows_MK.shape[1])


def _long(rows_NTK: Tensor) -> bool:
    return suits_onednn(rows_NTK) and rows_NTK.shape[1] >= LONG


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
