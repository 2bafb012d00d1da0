"""Products of rows with a thin matrix a lane: lane l owns ``sizes[l]`` consecutive rows.

Lanes of equal size go through one batched product; others, and long ones where that is faster, through one each.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from d2lora.products import LONG, suits_onednn, times_mT

Sizes = Sequence[int]


def times_lanes(rows_MK: Tensor, matrices_LKJ: Tensor, sizes: Sizes) -> Tensor:
    """Return each row times its lane's matrix, of shape (M, J)."""
    if _equal(sizes) and not _long(rows_MK, sizes):
        return torch.bmm(_by_lane(rows_MK, sizes), matrices_LKJ).flatten(0, 1)
    parts = torch.split(rows_MK, list(sizes))
    return _joined([times_mT(part, matrix.mT) for part, matrix in zip(parts, matrices_LKJ, strict=True)])


def add_times_lanes(into_MJ: Tensor, rows_MK: Tensor, matrices_LKJ: Tensor, sizes: Sizes) -> None:
    """Add each row times its lane's matrix to ``into_MJ``, in place."""
    if _equal(sizes):
        _by_lane(into_MJ, sizes).baddbmm_(_by_lane(rows_MK, sizes), matrices_LKJ)
        return
    parts = zip(torch.split(into_MJ, list(sizes)), torch.split(rows_MK, list(sizes)), matrices_LKJ, strict=True)
    for into, rows, matrix in parts:
        into.addmm_(rows, matrix)


def outer_lanes(left_MK: Tensor, right_MJ: Tensor, sizes: Sizes) -> Tensor:
    """Return ``left^T right`` over each lane's rows, of shape (L, K, J)."""
    if _equal(sizes) and not _long(left_MK, sizes):
        return torch.bmm(_by_lane(left_MK, sizes).mT, _by_lane(right_MJ, sizes))
    parts = zip(torch.split(left_MK, list(sizes)), torch.split(right_MJ, list(sizes)), strict=True)
    return torch.stack([times_mT(left.mT, right.mT) for left, right in parts])


def scale_lanes(rows_MK: Tensor, scale_LK: Tensor, sizes: Sizes, into_MK: Tensor) -> Tensor:
    """Write each row times its lane's scale into ``into_MK``, which may be the rows themselves, and return it."""
    if _equal(sizes):
        torch.mul(_by_lane(rows_MK, sizes), scale_LK[:, None], out=_by_lane(into_MK, sizes))
        return into_MK
    parts = zip(torch.split(rows_MK, list(sizes)), torch.split(into_MK, list(sizes)), scale_LK, strict=True)
    for rows, into, scale in parts:
        torch.mul(rows, scale, out=into)
    return into_MK


def lane_sums(rows_MK: Tensor, sizes: Sizes) -> Tensor:
    """Return the sum of each lane's rows, of shape (L, K)."""
    if _equal(sizes):
        return _by_lane(rows_MK, sizes).sum(1)
    return torch.stack([part.sum(0) for part in torch.split(rows_MK, list(sizes))])


def _equal(sizes: Sizes) -> bool:
    return min(sizes) == max(sizes)


def _long(rows: Tensor, sizes: Sizes) -> bool:
    return suits_onednn(rows) and sizes[0] >= LONG


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _by_lane(rows_MK: Tensor, sizes: Sizes) -> Tensor:
    return rows_MK.view(len(sizes), sizes[0], rows_MK.shape[1])
