"""The fused kernel under Triton's interpreter, against the sum written out lane by lane in float64."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import product
from unittest.mock import Mock, patch

import pytest
import torch
from torch import Tensor

import d2lora
from d2lora.kernels import fused
from d2lora.kernels.compose import compose_lanes
from d2lora.kernels.composition import Composition
from tests.helpers.places import ROOT

OUTPUTS, RANK = 7, 3
SIZES = {
    "equal": (5, 5),
    "unequal": (70, 3, 3, 64),
    "with lanes of no rows": (0, 5, 0, 0, 9, 0),
    "one lane": (4,),
    "no rows": (0, 0),
}
WIDE = {"more outputs than a block": (130, 3), "a rank above sixteen": (7, 33)}
needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton is not installed: pip install --no-deps triton"
)
EXACT = 1e-5  # float32: sums of up to 33 products, in another order


def written_out(composition: Composition) -> Tensor:
    """What the kernel is to compute, in float64, a lane after another."""
    base_MO, sizes, update, deviation_LO, extra_MO, bias_O = composition
    parts, row = [], 0
    for lane, size in enumerate(sizes):
        rows = slice(row, row + size)
        v_NO = base_MO[rows].double() + (0 if extra_MO is None else extra_MO[rows].double())
        deviation_O = 0 if deviation_LO is None else deviation_LO[lane].double()
        scaled_NO = deviation_O * (v_NO - (0 if bias_O is None else bias_O.double()))
        added_NO = 0 if update is None else update[0][rows].double() @ update[1][lane].double()
        parts.append(v_NO + scaled_NO + added_NO)
        row += size
    return torch.cat(parts)


def composed(sizes: tuple[int, ...], outputs: int, rank: int, dtype: torch.dtype, parts: tuple[bool, ...]) -> float:
    """Return the largest error of the kernel's float32 result of invented tensors."""
    draw = torch.Generator().manual_seed(0)
    rows, lanes = sum(sizes), len(sizes)
    base_MO, extra_MO = (torch.randn(rows, outputs, generator=draw).to(dtype) for _ in range(2))
    deviation_LO, bias_O = 0.01 * torch.randn(lanes, outputs, generator=draw), torch.randn(outputs, generator=draw)
    up_LRO = torch.randn(lanes, outputs, rank, generator=draw).mT  # a view, as it comes
    update = torch.randn(rows, rank, generator=draw), up_LRO
    there = zip((update, deviation_LO, extra_MO, bias_O), parts, strict=True)
    composition = Composition(base_MO, sizes, *(one if wanted else None for one, wanted in there))
    into_MO = torch.full((rows, outputs), torch.nan)  # float32, for the interpreter does not round as torch does
    before_MO = base_MO.clone()
    assert fused.compose_lanes(composition, into_MO) is into_MO
    assert torch.equal(base_MO, before_MO)
    distance_MO = into_MO.double() - written_out(composition)
    return float(distance_MO.abs().nan_to_num(torch.inf).max()) if rows else 0.0


def under_the_interpreter() -> dict[str, float]:
    """Return the error of every case; run where Triton is and ``TRITON_INTERPRET`` was set before it was imported."""
    errors = {}
    for name, sizes in SIZES.items():
        for dtype in (torch.float32, torch.bfloat16):
            errors[f"{name}, {dtype}"] = composed(sizes, OUTPUTS, RANK, dtype, (True, True, False, False))
    for name, (outputs, rank) in WIDE.items():
        errors[name] = composed(SIZES["unequal"], outputs, rank, torch.bfloat16, (True,) * 4)
    for parts in product((False, True), repeat=4):
        case = f"update, deviation, extra, bias {parts}"
        errors[case] = composed(SIZES["unequal"], OUTPUTS, RANK, torch.float32, parts)
    return errors | {"a layer that trains in bfloat16": adapted()}


def adapted() -> float:
    """Return how far outputs and gradients of a layer are apart with the kernel and without, by the largest of each."""
    with_and_without = []
    for offered in (True, False):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(20, OUTPUTS).to(torch.bfloat16))
        d2lora.attach(model, "d2lora", d2lora.get_method("d2lora").Config(rank=RANK), ["0"], lanes=2)
        parameters = [one for lane in range(2) for one in d2lora.adapter_parameters(model, lane).values()]
        for one in parameters:
            one.data = torch.randn_like(one)
        x_MI = torch.randn(8, 20).to(torch.bfloat16).requires_grad_()
        with patch.object(fused, "available", fused.available if offered else lambda *_: False):
            y_MO = model(x_MI)
            y_MO.square().sum().backward()
        with_and_without.append([y_MO.detach(), x_MI.grad, *(one.grad for one in parameters)])
    bits = [torch.equal(one, other) for one, other in zip(*with_and_without, strict=True)]
    assert not all(bits), "the interpreter rounds otherwise than torch, so the kernel was not used"
    apart = [(one - other).abs().max() / other.abs().max() for one, other in zip(*with_and_without, strict=True)]
    return float(torch.stack([one.float() for one in apart]).max())


@needs_triton
def test_the_kernel_gives_what_is_written_out_for_lanes_of_any_size() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.d2lora.kernels.test_fused"],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    errors = json.loads(told.stdout)
    assert len(errors) == 2 * len(SIZES) + len(WIDE) + 16 + 1
    assert errors.pop("a layer that trains in bfloat16") <= torch.finfo(torch.bfloat16).eps  # one rounding each
    assert {case: error for case, error in errors.items() if not error <= EXACT} == {}


@needs_triton
@pytest.mark.parametrize("parts", [(True, True, False, False), (True,) * 4], ids=["usual", "with all parts"])
def test_the_kernel_compiles_for_a_gpu_without_one(parts: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the interpreter takes may be no Triton that compiles."""
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # the default, about which Triton 3.9 warns
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from d2lora.kernels.fused_kernel import compose_run

    update, deviation, extra, bias = parts
    pointers = {"y": True, "base": True, "extra": extra, "h": update, "up": update}
    pointers |= {"deviation": deviation, "bias": bias}
    thin = ("h", "up", "deviation")
    types = {f"{name}_ptr": "*fp32" if name in thin else "*bf16" for name, there in pointers.items() if there}
    constants: dict[str, object] = {f"{name}_ptr": None for name, there in pointers.items() if not there}
    blocks = {"rows_a_block": fused.ROWS, "outputs_a_block": fused.OUTPUTS, "ranks_a_product": fused.RANKS}
    constants |= {"rank": RANK, "precision": fused.PRECISION} | blocks
    names = compose_run.arg_names
    signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in names}
    source = ASTSource(compose_run, signature, {(names.index(name),): value for name, value in constants.items()})
    built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": fused.WARPS})
    assert ".entry compose_run" in built.asm["ptx"]


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
    composition = Composition(base_MO, sizes, (h_MR, up_LRO), deviation_LO)
    composed_MO, wanted_MO = fused.compose_lanes(composition), written_out(composition)
    # half a step of the type, and float32's own sums
    apart_MO = (composed_MO.double() - wanted_MO).abs() / (wanted_MO.abs() + 1)
    assert float(apart_MO.max()) <= torch.finfo(dtype).eps + 1e-5


def test_the_kernel_is_not_offered_on_a_cpu_and_says_what_to_use_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    base_MO = torch.zeros(4, OUTPUTS)
    assert not fused.available(base_MO)
    with pytest.raises(ValueError, match=r"float32 on cpu: .* use d2lora\.kernels\.compose\.compose_lanes"):
        fused.compose_lanes(Composition(base_MO, (4,), (torch.zeros(4, RANK), torch.zeros(1, RANK, OUTPUTS))))


def test_the_kernel_is_not_offered_for_types_and_devices_that_it_was_not_made_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(fused, "_has_triton", lambda: True)
    monkeypatch.setattr(fused, "_works", lambda *_: True)
    assert fused.available(torch.zeros(4, OUTPUTS))
    monkeypatch.setenv("D2LORA_FUSED", "0")
    assert not fused.available(torch.zeros(4, OUTPUTS))
    monkeypatch.delenv("D2LORA_FUSED")
    assert not fused.available(torch.zeros(4, OUTPUTS, dtype=torch.float64))
    assert not fused.available(torch.zeros(4, OUTPUTS, device="meta"))
    monkeypatch.setattr(fused, "_has_triton", lambda: False)
    assert not fused.available(torch.zeros(4, OUTPUTS))


def test_a_kernel_that_cannot_run_is_told_once_and_torch_does_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where Triton has no C compiler."""
    parts = Composition(torch.ones(4, OUTPUTS), (4,), (torch.ones(4, RANK), torch.ones(1, RANK, OUTPUTS)))
    wanted_MO = compose_lanes(parts)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(fused, "_has_triton", lambda: True)
    monkeypatch.setattr(fused, "_launch", broken := Mock(side_effect=RuntimeError("no C compiler")))
    fused._works.cache_clear()
    for _ in range(2):
        assert torch.equal(compose_lanes(parts), wanted_MO)
    fused._works.cache_clear()
    assert broken.call_count == 1
    assert "No fused kernel on cpu: RuntimeError: ['no C compiler']" in caplog.text


if __name__ == "__main__":
    sys.stdout.write(json.dumps(under_the_interpreter()))
