"""`compose.compose_lanes` as one GPU kernel, which reads the base product once and writes the result once.

The kernel is written in Triton, which comes with PyTorch's builds for CUDA. `available` tells whether it can run.
"""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

from d2lora.kernels.composition import Composition
from d2lora.products.by_lane import lane_runs

_log = logging.getLogger(__name__)
ROWS, OUTPUTS, WARPS = 64, 64, 4
"""A program's block in rows and outputs, and its warps: the fastest of seven choices on an H200 (docs/adr/0022)."""
RANKS = 16
"""How many ranks one Triton product adds up: the fewest that tensor cores take."""
PRECISION = "tf32x3"
"""How float32 is multiplied: each factor split into three TF32 parts for tensor cores, which is as exact as "ieee"."""
TYPES = (torch.bfloat16, torch.float16, torch.float32)


def available(base_MO: Tensor) -> bool:
    """Tell whether the kernel can compose a base product of this type on this device.

    It can on CUDA, for types of up to 32 bits, if Triton is installed and has composed one small product in this
    process. ``D2LORA_FUSED=0`` in the environment switches the kernel off. On CPUs it runs only under Triton's
    interpreter (``TRITON_INTERPRET=1``), for tests.
    """
    where = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
    return (
        base_MO.device.type == where
        and base_MO.dtype in TYPES
        and torch.version.hip is None  # AMD's GPUs: never tried
        and os.environ.get("D2LORA_FUSED") != "0"
        and _has_triton()
        and _works(base_MO.device, base_MO.dtype)
    )


def compose_lanes(parts: Composition, into_MO: Tensor | None = None) -> Tensor:
    """Return what `compose.compose_lanes` returns, from one launch per run of lanes of equal size.

    The result has the type of ``base_MO``. With ``into_MO`` it is written there, in the type of ``into_MO``, and
    ``into_MO`` is returned; it may be ``base_MO`` itself. ValueError where `available` is false.
    """
    if not available(parts.base_MO):
        raise ValueError(
            f"No fused kernel for {parts.base_MO.dtype} on {parts.base_MO.device}: ask d2lora.kernels.fused.available "
            "first, and use d2lora.kernels.compose.compose_lanes."
        )
    return _launch(parts, into_MO)


@lru_cache
def _works(device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether the kernel runs, by running it once per process: Triton needs a C compiler and a folder to write."""
    try:
        update = torch.ones(2, 1, device=device), torch.ones(1, 1, 4, device=device)
        _launch(Composition(torch.ones(2, 4, device=device, dtype=dtype), (2,), update))
    except Exception as error:  # after any error of Triton, its compiler or the driver, torch computes the same
        _log.warning("No fused kernel on %s: %s: %s", device, type(error).__name__, str(error).splitlines()[:1])
        return False
    return True


def _launch(parts: Composition, into_MO: Tensor | None = None) -> Tensor:
    from d2lora.kernels.fused_kernel import compose_run

    base_MO, sizes, update, deviation_LO, extra_MO, bias_O = parts
    y_MO = torch.empty_like(base_MO, memory_format=torch.contiguous_format) if into_MO is None else into_MO
    base_MO, extra_MO = _dense_rows(base_MO), None if extra_MO is None else _dense_rows(extra_MO)
    h_MR, up_LRO = (None, None) if update is None else (_dense_rows(update[0]), update[1])
    outputs = base_MO.shape[1]
    for run in lane_runs(sizes) if outputs else ():
        blocks = (run.lanes.stop - run.lanes.start) * -(-run.size // ROWS)
        if not blocks:
            continue
        compose_run[blocks, -(-outputs // OUTPUTS)](
            y_MO,
            base_MO,
            extra_MO,
            h_MR,
            up_LRO,
            deviation_LO,
            bias_O,
            base_MO.stride(0),
            0 if extra_MO is None else extra_MO.stride(0),
            0 if h_MR is None else h_MR.stride(0),
            *((0, 0, 0) if up_LRO is None else up_LRO.stride()),
            0 if deviation_LO is None else deviation_LO.stride(0),
            run.rows.start,
            run.lanes.start,
            run.size,
            outputs,
            rank=0 if h_MR is None else h_MR.shape[1],
            precision=PRECISION,
            rows_a_block=ROWS,
            outputs_a_block=OUTPUTS,
            ranks_a_product=RANKS,
            num_warps=WARPS,
        )
    return y_MO


@lru_cache(maxsize=1)
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _dense_rows(rows_MK: Tensor) -> Tensor:
    """Return the tensor with the numbers of each row next to each other in memory, as the kernel reads them."""
    return rows_MK if rows_MK.stride(1) == 1 else rows_MK.contiguous()
