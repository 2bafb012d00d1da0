"""One product of rows with a matrix, by the fastest exact kernel that torch carries for them."""

from __future__ import annotations

import torch
from torch import Tensor

LONG = 256
"""Rows of a lane from which a product each, by oneDNN, beats a batched one."""
FEW, SMALL = 4, 2**20
"""Products of fewer rows, or of fewer multiplications, are left to MKL: calling oneDNN costs more than it saves."""


def _has_onednn() -> bool:
    """Return whether oneDNN multiplies float32 faster than MKL here: decided by the processor, never by a clock.

    MKL, torch's default, runs on AMD's processors with AVX-512 at the speed of AVX2, and oneDNN at 2.3 times that
    (docs/results.md); with AVX2 alone they are near each other.
    """
    return (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


ONEDNN = _has_onednn()


def suits_onednn(rows: Tensor) -> bool:
    """Return whether products of rows like these may go through oneDNN."""
    return ONEDNN and rows.dtype == torch.float32 and rows.device.type == "cpu"


def times_mT(rows_MK: Tensor, matrix_JK: Tensor) -> Tensor:
    """Return ``rows_MK @ matrix_JK.mT``, of shape (M, J), without gradient.

    Exact in its type: float32 is neither rounded to less nor added up in less. A transposed view of the matrix costs
    nothing.
    """
    large = rows_MK.shape[0] >= FEW and rows_MK.numel() * matrix_JK.shape[0] >= SMALL
    if large and suits_onednn(rows_MK):
        product: Tensor = torch.ops.mkldnn._linear_pointwise(rows_MK, matrix_JK, None, "none", [], "")
        return product
    return rows_MK @ matrix_JK.mT
