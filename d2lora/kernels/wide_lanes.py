"""Products of half-precision rows with float32 matrices, a matrix per lane, in float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from d2lora.kernels.device_profile import profile_of
from d2lora.kernels.halves import added, halves, on_tensor_cores, times_in_float32
from d2lora.kernels.lane_products import Run, Sizes, lane_runs, lane_sums, outer_lanes, times_lanes


def widened(rows_MK: Tensor) -> Tensor:
    """Return half-precision rows as the products below take them: as they are for tensor cores, else in float32.

    For rows that several products read, so that they are widened once.
    """
    large = rows_MK.numel() >= profile_of(rows_MK.device).split_from
    return rows_MK if large and on_tensor_cores(rows_MK) else rows_MK.to(torch.float32)


def times_wide_lanes(rows_MK: Tensor, matrices_LKJ: Tensor, sizes: Sizes) -> Tensor:
    """Return each half-precision (or `widened`) row times its lane's float32 matrix, of shape (M, J), in float32."""
    rows_MK = widened(rows_MK)
    if rows_MK.dtype == torch.float32:
        return times_lanes(rows_MK, matrices_LKJ, sizes)
    both_LKJ = halves(matrices_LKJ, 2)
    parts = [times_in_float32(_rows(rows_MK, run), both_LKJ[run.lanes]).flatten(0, 1) for run in lane_runs(sizes)]
    return added(_joined(parts), 1)


def outer_wide_lanes(left_MR: Tensor, right_MJ: Tensor, sizes: Sizes) -> Tensor:
    """Return ``left^T right`` over each lane's rows, (L, R, J) in float32.

    The left is float32, the right half precision or `widened`.
    """
    right_MJ = widened(right_MJ)
    if right_MJ.dtype == torch.float32:
        return outer_lanes(left_MR, right_MJ, sizes)
    both_MR = halves(left_MR, 1)
    return added(
        _joined([times_in_float32(_rows(both_MR, run).mT, _rows(right_MJ, run)) for run in lane_runs(sizes)]), 1
    )


def dot_lanes(left_MK: Tensor, right_MK: Tensor, sizes: Sizes) -> Tensor:
    """Return the sum of ``left * right`` over each lane's rows, of shape (L, K), in float32."""
    return lane_sums(left_MK.to(torch.float32) * right_MK, sizes)


def _rows(rows_MK: Tensor, run: Run) -> Tensor:
    """Return the run's rows by lane, of shape (N, T, K)."""
    return rows_MK[run.rows].view(-1, run.size, rows_MK.shape[1])


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
