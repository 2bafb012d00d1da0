"""`compose.compose_lanes` as one kernel on a GPU: it reads the base product once and writes the result once.

The kernel needs Triton, which comes with PyTorch's builds for CUDA; where there is none, `available` says so.
"""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

from d2lora.kernels.lane_products import Sizes, lane_runs

_log = logging.getLogger(__name__)
ROWS, OUTPUTS, WARPS = 64, 64, 4
"""A program's block, and its warps: the fastest of seven that an H200 was given (docs/adr/0022)."""
RANKS = 16
"""Ranks that are added up at once: tensor cores, and so Triton's products, take no fewer."""
PRECISION = "tf32x3"
"""How float32 is multiplied: a factor split in three for tensor cores, which is as exact as "ieee", as it is."""
TYPES = (torch.bfloat16, torch.float16, torch.float32)


def available(base_MO: Tensor) -> bool:
    """Return whether the kernel composes a base product like ``base_MO``.

    It does on CUDA in types of up to 32 bits, where Triton is and has composed a small product once, unless
    ``D2LORA_FUSED=0`` is in the environment; on CPUs only under Triton's interpreter (``TRITON_INTERPRET=1``), which is
    for tests.
    """
    where = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
    return (
        base_MO.device.type == where
        and base_MO.dtype in TYPES
        and torch.version.hip is None  # nobody has tried it there
        and os.environ.get("D2LORA_FUSED") != "0"
        and _has_triton()
        and _works(base_MO.device, base_MO.dtype)
    )


@lru_cache
def _works(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether the kernel runs: Triton wants a C compiler and a place for what it compiles, once per process."""
    try:
        base_MO = torch.ones(2, 4, device=device, dtype=dtype)
        _launch(base_MO, (2,), (torch.ones(2, 1, device=device), torch.ones(1, 1, 4, device=device)))
    except Exception as error:  # whatever Triton, its compiler or the driver raise: torch's operations do the same
        _log.warning("No fused kernel on %s: %s: %s", device, type(error).__name__, str(error).splitlines()[:1])
        return False
    return True


def compose_lanes(
    base_MO: Tensor,
    sizes: Sizes,
    update: tuple[Tensor, Tensor] | None = None,
    deviation_LO: Tensor | None = None,
    extra_MO: Tensor | None = None,
    bias_O: Tensor | None = None,
    into_MO: Tensor | None = None,
) -> Tensor:
    """Return ``v + deviation * (v - bias) + h up`` with ``v = base + extra``, as `compose.compose_lanes` does.

    In the type of ``base_MO``, or of ``into_MO`` where that is given, which is written to and returned and may be
    ``base_MO`` itself. Neighbours of equal size are one launch. ValueError where `available` would have said no.
    """
    if not available(base_MO):
        raise ValueError(
            f"No fused kernel for {base_MO.dtype} on {base_MO.device}: ask d2lora.fused.available first, and use "
            "d2lora.compose.compose_lanes."
        )
    return _launch(base_MO, sizes, update, deviation_LO, extra_MO, bias_O, into_MO)


def _launch(
    base_MO: Tensor,
    sizes: Sizes,
    update: tuple[Tensor, Tensor] | None = None,
    deviation_LO: Tensor | None = None,
    extra_MO: Tensor | None = None,
    bias_O: Tensor | None = None,
    into_MO: Tensor | None = None,
) -> Tensor:
    from d2lora.kernels.fused_kernel import compose_run

    y_MO = torch.empty_like(base_MO, memory_format=torch.contiguous_format) if into_MO is None else into_MO
    base_MO, extra_MO = _with_rows(base_MO), None if extra_MO is None else _with_rows(extra_MO)
    h_MR, up_LRO = (None, None) if update is None else (_with_rows(update[0]), update[1])
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


def _with_rows(rows_MK: Tensor) -> Tensor:
    """Return the same with neighbouring numbers of a row next to each other, as the kernel reads them."""
    return rows_MK if rows_MK.stride(1) == 1 else rows_MK.contiguous()
