"""Make a GPU compute the same bits each time: torch uses only kernels that sum in a fixed order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

CUBLAS = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""The variable that makes cuBLAS sum in a fixed order (NVIDIA, cuBLAS: results reproducibility).

The variable has no effect if it is set after CUDA has started.
"""


def environment(wanted: bool) -> dict[str, str]:
    """Return the variables for a worker's environment, needed before the worker begins; none unless ``wanted``."""
    return dict(CUBLAS) if wanted else {}


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Within: deterministic kernels only, if ``wanted``; RuntimeError if an operation has no deterministic kernel."""
    if not wanted:
        yield
        return
    import torch

    os.environ.update(CUBLAS)  # for a local cluster; Ray workers have the variable from their start
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
