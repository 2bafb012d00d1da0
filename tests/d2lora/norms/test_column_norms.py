"""Norms of a moved weight: float32 or better whatever the types, in bounded memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from d2lora.device_profile import CPU, PROFILES
from d2lora.norms.base_weight import BaseWeight
from d2lora.norms.column_norms import updated_norms
from d2lora.products import in_float32
from tests.d2lora.layers.test_adapted import CountAllocations

OUT, IN, LANES, RANK = 96, 160, 2, 3
both_axes = pytest.mark.parametrize("axis", ["out", "in"])


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven rows a slice, so that a weight has many and the last is not full."""
    monkeypatch.setitem(PROFILES, "cpu", replace(CPU, slice_bytes=7 * IN * 4))


def half_precision(dtype: torch.dtype = torch.bfloat16) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = ((OUT, IN), (LANES, OUT, RANK), (LANES, RANK, IN))
    weight_OI, up_LOR, down_LRI = (torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    return weight_OI, up_LOR, down_LRI


def dense_norms(weight_OI: torch.Tensor, up_LOR: torch.Tensor, down_LRI: torch.Tensor, axis: str) -> torch.Tensor:
    moved_LOI = weight_OI.to(up_LOR.dtype) + up_LOR @ down_LRI
    return moved_LOI.square().sum(2 if axis == "out" else 1).sqrt()


@both_axes
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("adapters", [torch.float32, None], ids=["float32 adapters", "half adapters"])
def test_norms_of_a_half_precision_weight_are_those_in_float32(
    axis: str, half: torch.dtype, adapters: torch.dtype | None
) -> None:
    weight_OI, up_LOR, down_LRI = half_precision(half)
    thin_norms = updated_norms(BaseWeight(weight_OI), up_LOR.to(adapters or half), down_LRI.to(adapters or half), axis)
    assert thin_norms.dtype == torch.float32
    dense = dense_norms(weight_OI, up_LOR.float(), down_LRI.float(), axis)
    torch.testing.assert_close(thin_norms, dense, rtol=1e-5, atol=0)


@both_axes
@pytest.mark.parametrize("adapters", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_of_norms_reach_the_adapters_of_a_half_precision_weight(axis: str, adapters: torch.dtype) -> None:
    weight_OI, *rounded = half_precision()
    thin = [one.to(adapters).requires_grad_() for one in rounded]
    dense = [one.double().requires_grad_() for one in rounded]
    gradients = torch.autograd.grad(updated_norms(BaseWeight(weight_OI), *thin, axis).sum(), thin)
    wanted = torch.autograd.grad(dense_norms(weight_OI, *dense, axis).sum(), dense)
    # the last rounding of a gradient to the type of its leaf; float64 leaves meet a float32 norm of the base
    tolerance = 2**-7 if adapters == torch.bfloat16 else 1e-5
    for one, other, leaf in zip(gradients, wanted, thin, strict=True):
        assert one.dtype == leaf.dtype
        assert (one.double() - other).abs().max() <= tolerance * other.abs().max()


@pytest.mark.parametrize("transposed", [True, False])
def test_the_product_in_slices_has_a_first_and_a_second_derivative(transposed: bool) -> None:
    weight_OI = torch.randn(9, IN, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)[:, :5]
    thin = torch.randn(2, 5 if transposed else 9, dtype=torch.float64).requires_grad_()

    def product(one: torch.Tensor) -> torch.Tensor:
        return in_float32.product_in_float32(one, weight_OI, transposed).square()

    assert torch.autograd.gradcheck(product, thin)
    assert torch.autograd.gradgradcheck(product, thin)


@both_axes
def test_norms_of_a_half_precision_weight_widen_no_more_than_a_slice_of_it(axis: str) -> None:
    weight_OI, up_LOR, down_LRI = half_precision()
    thin = [one.float().requires_grad_() for one in (up_LOR, down_LRI)]
    with CountAllocations(OUT * IN // 8) as counter:
        updated_norms(BaseWeight(weight_OI), *thin, axis).sum().backward()
    assert counter.count == 0


@both_axes
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_wide_weight_is_used_as_it_is(axis: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_float32, "widened_slices", None)  # calling it would fail
    base = BaseWeight(half_precision()[0].to(dtype))
    thin = [one.to(dtype).requires_grad_() for one in half_precision()[1:]]
    base.norms2(axis)
    with CountAllocations(OUT * IN) as counter:
        norms = updated_norms(base, *thin, axis)
        norms.sum().backward()
    assert counter.count == 0
    torch.testing.assert_close(norms, dense_norms(base.weight_OI, *thin, axis), rtol=1e-5, atol=0)
