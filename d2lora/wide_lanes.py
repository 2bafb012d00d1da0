"""Products of half-precision rows with float32 matrices, a matrix per lane, in float32."""

from __future__ import annotations

import torch
from torch import Tensor

from d2lora.halves import halves, on_tensor_cores, times_in_float32
from d2lora.lane_products import Run, Sizes, lane_runs, lane_sums, outer_lanes, times_lanes


def widened(rows_MK: Tensor) -> Tensor:
    """Return half-precision rows as the products below take them: as they are on tensor cores, else in float32.

    For rows that several products read, so that they are widened once.
    """
    return rows_MK if on_tensor_cores(rows_MK) else rows_MK.to(torch.float32)


def times_wide_lanes(rows_MK: Tensor, matrices_LKJ: Tensor, sizes: Sizes) -> Tensor:
    """Return each half-precision (or `widened`) row times its lane's float32 matrix, of shape (M, J), in float32."""
    if not on_tensor_cores(rows_MK):
        return times_lanes(rows_MK.to(torch.float32), matrices_LKJ, sizes)
    width = matrices_LKJ.shape[2]
    both_LKJ = torch.cat(halves(matrices_LKJ), 2)
    parts = [times_in_float32(_rows(rows_MK, run), both_LKJ[run.lanes]) for run in lane_runs(sizes)]
    sums = [(part_NTJ[..., :width] + part_NTJ[..., width:]).flatten(0, 1) for part_NTJ in parts]
    return sums[0] if len(sums) == 1 else torch.cat(sums)


def outer_wide_lanes(left_MR: Tensor, right_MJ: Tensor, sizes: Sizes) -> Tensor:
    """Return ``left^T right`` over each lane's rows, (L, R, J) in float32.

    The left is float32, the right half precision or `widened`.
    """
    if not on_tensor_cores(right_MJ):
        return outer_lanes(left_MR, right_MJ.to(torch.float32), sizes)
    rank = left_MR.shape[1]
    both_MR = torch.cat(halves(left_MR), 1)
    parts = [times_in_float32(_rows(both_MR, run).mT, _rows(right_MJ, run)) for run in lane_runs(sizes)]
    sums = [part_NRJ[:, :rank] + part_NRJ[:, rank:] for part_NRJ in parts]
    return sums[0] if len(sums) == 1 else torch.cat(sums)


def dot_lanes(left_MK: Tensor, right_MK: Tensor, sizes: Sizes) -> Tensor:
    """Return the sum of ``left * right`` over each lane's rows, of shape (L, K), in float32."""
    return lane_sums(left_MK.to(torch.float32) * right_MK, sizes)


def _rows(rows_MK: Tensor, run: Run) -> Tensor:
    """Return the run's rows by lane, of shape (N, T, K)."""
    return rows_MK[run.rows].view(-1, run.size, rows_MK.shape[1])
