"""One product of rows with a matrix, by the fastest exact kernel in torch for the processor."""

from __future__ import annotations

import torch
from torch import Tensor

LONG = 256
"""Lanes with at least this many rows each are multiplied one by one through oneDNN: faster than one batched product."""
FEW, SMALL = 4, 2**20
"""Products with fewer than FEW rows or SMALL multiplications go to MKL: calling oneDNN costs more than it saves."""


def _has_onednn() -> bool:
    """Tell whether oneDNN multiplies float32 faster than MKL on this processor.

    The processor decides, never a measured time, so the choice is the same in every run. On AMD's processors with
    AVX-512, MKL (torch's default) runs at the speed of AVX2, and oneDNN is 2.3 times as fast (docs/results.md). On
    processors with AVX2 alone the two are about equal.
    """
    return (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


ONEDNN = _has_onednn()


def suits_onednn(rows: Tensor) -> bool:
    """Tell whether products of ``rows`` may go through oneDNN: float32 rows on a CPU where oneDNN is the faster."""
    return ONEDNN and rows.dtype == torch.float32 and rows.device.type == "cpu"


def times_mT(rows_MK: Tensor, matrix_JK: Tensor) -> Tensor:
    """Return ``rows_MK @ matrix_JK.mT``, of shape (M, J), without gradient.

    Exact in the type of its inputs: neither kernel rounds float32 to a narrower type, or adds up in one. A transposed
    view as ``matrix_JK`` costs nothing extra.
    """
    large = rows_MK.shape[0] >= FEW and rows_MK.numel() * matrix_JK.shape[0] >= SMALL
    if large and suits_onednn(rows_MK):
        product: Tensor = torch.ops.mkldnn._linear_pointwise(rows_MK, matrix_JK, None, "none", [], "")
        return product
    return rows_MK @ matrix_JK.mT
