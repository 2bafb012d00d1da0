"""The fused composition kernel against torch's operations: error, time by block size, and time of a whole step."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.gpu.arms import spread, timed
from benchmarks.gpu.report import Rows
from benchmarks.gpu.scale import Scale
from benchmarks.gpu.speed import lane_steps
from benchmarks.models import RANK
from d2lora.kernels import fused
from d2lora.kernels.composition import Composition

Block = tuple[int, int, int, str]
BLOCKS: tuple[Block, ...] = (
    (fused.ROWS, fused.OUTPUTS, fused.WARPS, fused.PRECISION),
    (32, 128, 8, "ieee"),
    (64, 64, 4, "ieee"),
    (64, 128, 8, "ieee"),
    (64, 64, 8, "ieee"),
    (64, 128, 8, "tf32x3"),
    (128, 128, 8, "tf32x3"),
)
"""Rows, outputs, warps, and how float32 is multiplied; the library uses the first block size."""


def rows(scale: Scale) -> Rows:
    """Yield a row per shape, for torch's operations and for the kernel at each block size."""
    from d2lora.kernels.compose import compose_lanes

    for count in scale.composed_rows:
        for lanes in (1, scale.small_lanes):
            given = _given(scale, count, lanes)
            wanted_MO = _written_out(given)
            shape = {"rows": count, "outputs": given.base_MO.shape[1], "rank": 2 * RANK, "lanes": lanes}
            with _without():
                yield shape | _form("torch", lambda given=given: compose_lanes(given), wanted_MO, scale)
            for block in BLOCKS:
                if not fused.available(given.base_MO):
                    yield shape | {"form": "fused: not available here"}
                    break
                with _block(block):
                    name = "fused " + " ".join(map(str, block))
                    yield shape | _form(name, lambda given=given: fused.compose_lanes(given), wanted_MO, scale)


def step_rows(scale: Scale) -> Rows:
    """Yield the time of the trainer's step with the kernel and without it."""
    case = scale.cases[0]
    for lanes in scale.lanes:
        for on in (True, False):
            with nullcontext() if on else _without():
                samples, _ = lane_steps(scale, case, "d2lora", lanes)
            yield {"hidden": case.hidden, "lanes": lanes, "fused": "on" if on else "off", **spread(samples)}


def _given(scale: Scale, count: int, lanes: int) -> Composition:
    """Return the random input of a composition, as an adapted layer passes it."""
    outputs, rank = scale.layer_sizes[-1], 2 * RANK
    draw = torch.Generator(scale.device).manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, device=scale.device)

    update = noise(count, rank), 0.02 * noise(lanes, outputs, rank).mT
    base_MO = noise(count, outputs).to(torch.bfloat16)
    return Composition(base_MO, (count // lanes,) * lanes, update, 0.002 * noise(lanes, outputs))


def _written_out(given: Composition) -> Tensor:
    """Return the composition in float64, lane by lane."""
    base_MO, sizes, update, deviation_LO, *_ = given
    assert update is not None and deviation_LO is not None  # noqa: S101, PT018 - `_given` makes both
    parts = zip(base_MO.split(sizes), update[0].split(sizes), update[1], deviation_LO, strict=True)
    return torch.cat([(1 + s.double()) * b.double() + h.double() @ up.double() for b, h, up, s in parts])


def _form(name: str, compose: Any, wanted_MO: Tensor, scale: Scale) -> dict[str, Any]:
    """Return the time and the largest error of one way to compose.

    The error is in bfloat16 steps at the exact value; one rounding makes an error of up to half a step.
    """
    found_MO = compose().double()
    step_MO = torch.finfo(torch.bfloat16).eps * wanted_MO.abs().log2().floor().exp2()
    error = float(((found_MO - wanted_MO).abs() / step_MO.clamp_min(1e-4)).max())
    samples = timed(compose, scale.device, 20)
    moved = 2 * wanted_MO.numel() * 2 / 1e9  # read once, written once
    ms = statistics.median(samples)
    return {"form": name, "ms": ms, "least": min(samples), "GB/s": moved / ms * 1000, "error in steps": error}


def _without() -> Any:
    """Within: the library composes with torch's operations, not with the kernel."""
    return patch.object(fused, "available", lambda *_: False)


@contextmanager
def _block(block: Block) -> Iterator[None]:
    with (
        patch.object(fused, "ROWS", block[0]),
        patch.object(fused, "OUTPUTS", block[1]),
        patch.object(fused, "WARPS", block[2]),
        patch.object(fused, "PRECISION", block[3]),
    ):
        yield
