"""The same bits each time on a GPU: torch takes kernels whose sums have one order, and refuses others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

CUBLAS = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""With it cuBLAS sums in one order (NVIDIA, cuBLAS: results reproducibility); it counts if set before CUDA starts."""


def environment(wanted: bool) -> dict[str, str]:
    """Return what a worker's environment must hold before the worker begins."""
    return dict(CUBLAS) if wanted else {}


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Within: only such kernels, if ``wanted``; RuntimeError, by torch, at an operation that has none."""
    if not wanted:
        yield
        return
    import torch

    os.environ.update(CUBLAS)  # for a worker that is this process; others have it from their start
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
