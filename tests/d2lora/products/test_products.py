"""Both kernels of the plain products, and products by lane: the same numbers as torch's own, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from d2lora.products import plain
from d2lora.products.by_lane import outer_lanes, times_lanes


@pytest.fixture(params=["onednn", "mkl"], autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with each kernel, whatever this processor would choose."""
    if request.param == "onednn" and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch has no oneDNN product")
    monkeypatch.setattr(plain, "ONEDNN", request.param == "onednn")
    monkeypatch.setattr(plain, "SMALL", 0)
    return str(request.param)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_products_are_exact_for_rows_and_matrices_that_lie_either_way() -> None:
    rows_MK, matrix_JK = drawn(300, 70), drawn(50, 70, seed=1)
    wanted = rows_MK.double() @ matrix_JK.double().mT
    for rows in (rows_MK, rows_MK.mT.contiguous().mT):
        for matrix in (matrix_JK, matrix_JK.mT.contiguous().mT):
            product = plain.times_mT(rows, matrix)
            torch.testing.assert_close(product.double(), wanted, rtol=1e-5, atol=1e-5)


def test_the_kernel_that_is_asked_for_is_the_one_that_runs(kernel: str) -> None:
    with torch.profiler.profile() as seen:
        plain.times_mT(drawn(8, 4), drawn(6, 4))
    assert any("mkldnn" in event.key for event in seen.key_averages()) == (kernel == "onednn")


def test_float64_never_goes_through_onednn() -> None:
    assert not plain.suits_onednn(drawn(2, 2).double())


@pytest.mark.parametrize("rows", [64, plain.LONG])
def test_thin_products_of_equal_lanes_do_not_depend_on_their_length(rows: int) -> None:
    left_MK, right_MJ, matrices_LKJ = drawn(2 * rows, 24), drawn(2 * rows, 5, seed=1), drawn(2, 24, 5, seed=2)
    times, outer = times_lanes(left_MK, matrices_LKJ, (rows, rows)), outer_lanes(left_MK, right_MJ, (rows, rows))
    for lane, part in enumerate((slice(0, rows), slice(rows, None))):
        left, right = left_MK[part].double(), right_MJ[part].double()
        torch.testing.assert_close(times[part].double(), left @ matrices_LKJ[lane].double(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(outer[lane].double(), left.mT @ right, rtol=1e-5, atol=1e-4)
