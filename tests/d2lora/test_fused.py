"""The fused kernel under Triton's interpreter, against the sum written out lane by lane in float64."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor

from d2lora import fused

ROOT = Path(__file__).parents[2]
OUTPUTS, RANK = 7, 3
SIZES = {
    "equal": (5, 5),
    "unequal": (70, 3, 3, 64),
    "with lanes of no rows": (0, 5, 0, 0, 9, 0),
    "one lane": (4,),
    "no rows": (0, 0),
}
WIDE = {"more outputs than a block": (130, 3), "a rank above sixteen": (7, 33)}
EXACT = 1e-5  # float32: sums of up to 33 products, in another order


def written_out(
    base_MO: Tensor,
    h_MR: Tensor,
    up_LRO: Tensor,
    sizes: tuple[int, ...],
    deviation_LO: Tensor | None,
    extra_MO: Tensor | None,
    bias_O: Tensor | None,
) -> Tensor:
    """What the kernel is to compute, in float64, a lane after another."""
    parts, row = [], 0
    for lane, size in enumerate(sizes):
        rows = slice(row, row + size)
        v_NO = base_MO[rows].double() + (0 if extra_MO is None else extra_MO[rows].double())
        deviation_O = 0 if deviation_LO is None else deviation_LO[lane].double()
        parts.append(v_NO + deviation_O * v_NO + h_MR[rows].double() @ up_LRO[lane].double())
        row += size
    y_MO = torch.cat(parts)
    return y_MO if bias_O is None else y_MO + bias_O.double()


def composed(sizes: tuple[int, ...], outputs: int, rank: int, dtype: torch.dtype, parts: tuple[bool, ...]) -> float:
    """Return the largest error of the kernel's float32 result of invented tensors."""
    draw = torch.Generator().manual_seed(0)
    rows, lanes = sum(sizes), len(sizes)
    base_MO, extra_MO = (torch.randn(rows, outputs, generator=draw).to(dtype) for _ in range(2))
    deviation_LO, bias_O = 0.01 * torch.randn(lanes, outputs, generator=draw), torch.randn(outputs, generator=draw)
    up_LRO = torch.randn(lanes, outputs, rank, generator=draw).mT  # a view, as it comes
    h_MR = torch.randn(rows, rank, generator=draw)
    there = zip((deviation_LO, extra_MO, bias_O), parts, strict=True)
    deviation, extra, bias = (tensor if wanted else None for tensor, wanted in there)
    into_MO = torch.full((rows, outputs), torch.nan)  # float32, for the interpreter does not round as torch does
    given = base_MO.clone()
    found_MO = fused.compose_lanes(base_MO, h_MR, up_LRO, sizes, deviation, extra, bias, into_MO)
    assert found_MO is into_MO
    assert torch.equal(base_MO, given)
    distance_MO = found_MO.double() - written_out(base_MO, h_MR, up_LRO, sizes, deviation, extra, bias)
    return float(distance_MO.abs().nan_to_num(torch.inf).max()) if rows else 0.0


def under_the_interpreter() -> dict[str, float]:
    """Return the error of every case; run where Triton is and ``TRITON_INTERPRET`` was set before it was imported."""
    found = {}
    for name, sizes in SIZES.items():
        for dtype in (torch.float32, torch.bfloat16):
            found[f"{name}, {dtype}"] = composed(sizes, OUTPUTS, RANK, dtype, (True, False, False))
    for name, (outputs, rank) in WIDE.items():
        found[name] = composed(SIZES["unequal"], outputs, rank, torch.bfloat16, (True, True, True))
    for parts in product((False, True), repeat=3):
        found[f"deviation, extra, bias {parts}"] = composed(SIZES["unequal"], OUTPUTS, RANK, torch.float32, parts)
    return found


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed: pip install --no-deps triton")
def test_the_kernel_gives_what_is_written_out_for_lanes_of_any_size() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.d2lora.test_fused"],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    errors = json.loads(told.stdout)
    assert len(errors) == 2 * len(SIZES) + len(WIDE) + 8
    assert {case: error for case, error in errors.items() if not error <= EXACT} == {}


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available() or find_spec("triton") is None, reason="needs a GPU and Triton: neither is emulated"
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_kernel_on_a_gpu_is_within_one_rounding_of_what_is_written_out(dtype: torch.dtype) -> None:
    sizes, outputs, rank = (300, 7, 512), 513, 32
    draw = torch.Generator("cuda").manual_seed(0)
    base_MO = torch.randn(sum(sizes), outputs, generator=draw, device="cuda").to(dtype)
    h_MR = torch.randn(sum(sizes), rank, generator=draw, device="cuda")
    up_LRO = torch.randn(len(sizes), outputs, rank, generator=draw, device="cuda").mT
    deviation_LO = 0.01 * torch.randn(len(sizes), outputs, generator=draw, device="cuda")
    found_MO = fused.compose_lanes(base_MO, h_MR, up_LRO, sizes, deviation_LO)
    wanted_MO = written_out(base_MO, h_MR, up_LRO, sizes, deviation_LO, None, None)
    # half a step of the type, and float32's own sums
    assert float(((found_MO.double() - wanted_MO).abs() / (wanted_MO.abs() + 1)).max()) <= torch.finfo(dtype).eps + 1e-5


def test_the_kernel_is_not_offered_on_a_cpu_and_says_what_to_use_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    base_MO = torch.zeros(4, OUTPUTS)
    assert not fused.available(base_MO, RANK)
    with pytest.raises(ValueError, match=r"float32 on cpu and rank 3: .* use d2lora\.compose\.compose_lanes"):
        fused.compose_lanes(base_MO, torch.zeros(4, RANK), torch.zeros(1, RANK, OUTPUTS), (4,))


def test_the_kernel_is_not_offered_for_types_and_ranks_that_it_was_not_made_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(fused, "find_spec", lambda name: name)
    assert fused.available(torch.zeros(4, OUTPUTS), fused.WIDEST)
    assert not fused.available(torch.zeros(4, OUTPUTS), fused.WIDEST + 1)
    assert not fused.available(torch.zeros(4, OUTPUTS, dtype=torch.float64), RANK)
    assert not fused.available(torch.zeros(4, OUTPUTS, device="meta"), RANK)
    monkeypatch.setattr(fused, "find_spec", lambda name: None)
    assert not fused.available(torch.zeros(4, OUTPUTS), RANK)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(under_the_interpreter()))
