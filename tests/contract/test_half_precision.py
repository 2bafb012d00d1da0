"""Every registered method over a base in bfloat16 or float16, against its definition in float64 (docs/precision.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import d2lora
from d2lora.kernels.apply import apply_factored
from d2lora.method import LowRankConfig, Params
from d2lora.norms.base_weight import BaseWeight
from d2lora.products import by_lane_in_float32, in_float32
from tests.helpers.methods import IDS, SETTINGS, config_of, trained

OUT, IN, ROWS = 96, 128, 2048
HALVES = [torch.bfloat16, torch.float16]
SCALED = [("d2lora", {}), ("d2lora", {"norm_axis": "in"}), ("d2lora", {"readd": 0}), ("dora", {})]

all_methods = pytest.mark.parametrize(("method", "settings"), SETTINGS, ids=IDS)
both_halves = pytest.mark.parametrize("dtype", HALVES, ids=["bfloat16", "float16"])


def normal(*shape: int, seed: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def of_size(method: str, config: LowRankConfig, weight_OI: Tensor, share: float) -> Params:
    """Return parameters whose update has ``share`` of the weight's norm; a magnitude is that of the base."""
    params = trained(method, config, weight_OI.float())
    if "magnitude" in params:
        params["magnitude"] = BaseWeight(weight_OI.float()).norms("out").clone().requires_grad_()
    with torch.no_grad():
        factor = share * float(weight_OI.float().norm() / d2lora.get_method(method).update(params, config).norm())
        for name, value in params.items():
            if name.startswith("up"):
                value.mul_(factor)
    return params


def relative(got: Tensor, wanted: Tensor) -> float:
    return float((got.double() - wanted).norm() / wanted.norm())


@pytest.fixture(params=["cpu", "split"])
def as_on(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products as CPUs do them, and as GPUs do: of float32 tensors split in two bfloat16 ones."""
    if request.param == "split":
        for module in (in_float32, by_lane_in_float32):
            monkeypatch.setattr(module, "on_tensor_cores", lambda narrow: narrow.dtype == torch.bfloat16)
            monkeypatch.setattr(module, "tensor_core_product", lambda left, right: left.float() @ right.float())


@both_halves
@all_methods
def test_values_and_gradients_are_the_definitions_to_one_rounding(
    method: str, settings: dict[str, Any], dtype: torch.dtype, as_on: None
) -> None:
    """The weight and the input are exact, so only what is rounded differs: the base product, ``y`` and ``dx``.

    An element is rounded by at most eps / 2, the norm of many by less: by 0.3 eps. In the gradients of factors nothing
    is rounded but the base product, which the gradient of a scale reads; a magnitude's gradient reads nothing else.
    """
    config, module = config_of(method, settings), d2lora.get_method(method)
    weight_OI = normal(OUT, IN, seed=1, dtype=dtype) / 8
    x_NI, dy_NO = normal(2 * ROWS, IN, seed=2, dtype=dtype), normal(2 * ROWS, OUT, seed=3, dtype=dtype)
    each = [of_size(method, config, weight_OI, 0.02 * (1 + lane)) for lane in range(2)]

    stacked = {name: torch.stack([params[name] for params in each]) for name in each[0]}
    x_NI.requires_grad_()
    y_NO = apply_factored(x_NI, weight_OI, module.factored(BaseWeight(weight_OI), stacked, config), [ROWS, ROWS])
    leaves = [x_NI, *(value for params in each for value in params.values())]
    gradients = torch.autograd.grad(y_NO, leaves, dy_NO, allow_unused=True, materialize_grads=True)

    exact = [{name: value.detach().double().requires_grad_() for name, value in params.items()} for params in each]
    wide_NI = x_NI.detach().double().requires_grad_()
    halves_NI = wide_NI.split(ROWS)
    wanted_NO = torch.cat(
        [
            x @ module.effective_weight(weight_OI.double(), params, config).mT
            for x, params in zip(halves_NI, exact, strict=True)
        ]
    )
    leaves = [wide_NI, *(value for params in exact for value in params.values())]
    wanted = torch.autograd.grad(wanted_NO, leaves, dy_NO.double(), allow_unused=True, materialize_grads=True)

    eps = torch.finfo(dtype).eps
    assert y_NO.dtype == dtype
    assert relative(y_NO.detach(), wanted_NO.detach()) < eps / 2
    assert relative(gradients[0], wanted[0]) < eps / 2
    for got, want in zip(gradients[1:], wanted[1:], strict=True):
        assert got.dtype == torch.float32
        share = 2 if want.ndim == 1 else 8
        assert not want.any() or relative(got, want) < eps / share


@both_halves
@pytest.mark.parametrize("share", [0.005, 0.02])
@pytest.mark.parametrize(("method", "settings"), SCALED, ids=str)
def test_the_projection_acts_in_full_forward_and_backward(
    method: str, settings: dict[str, Any], share: float, dtype: torch.dtype
) -> None:
    """The slope, over all outputs, of what the projection did on what it should do; 0.02 where scales round to 1."""
    config, module = config_of(method, settings), d2lora.get_method(method)
    weight_OI = normal(OUT, IN, seed=1, dtype=dtype) / 8
    x_NI = normal(16 * ROWS, IN, seed=2, dtype=dtype).requires_grad_()
    dy_NO = normal(16 * ROWS, OUT, seed=3, dtype=dtype)
    params = of_size(method, config, weight_OI, share)
    thin = module.factored(BaseWeight(weight_OI), {name: value[None] for name, value in params.items()}, config)
    y_NO = apply_factored(x_NI, weight_OI, thin, [16 * ROWS])
    (dx_NI,) = torch.autograd.grad(y_NO, x_NI, dy_NO)

    wide_OI, exact = weight_OI.double(), {name: value.detach().double() for name, value in params.items()}
    without_OI = wide_OI + (1 + getattr(config, "readd", 0)) * module.update(exact, config)
    projection_OI = module.effective_weight(wide_OI, exact, config) - without_OI
    for rows, matrix, got in (
        (x_NI.detach().double(), lambda weight: weight.mT, y_NO.detach()),
        (dy_NO.double(), lambda weight: weight, dx_NI),
    ):
        true = rows @ matrix(projection_OI)
        acted = got.double() - rows @ matrix(without_OI)
        assert float((true * acted).sum() / true.square().sum()) == pytest.approx(1, abs=0.05)


@both_halves
@all_methods
def test_training_starts_at_the_base_bit_for_bit(method: str, settings: dict[str, Any], dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(IN, OUT), nn.Tanh(), nn.Linear(OUT, IN, bias=False)).to(dtype)
    x_NI = normal(6, IN, seed=2, dtype=dtype)
    wanted_NI = model(x_NI)
    d2lora.attach(model, method, config_of(method, settings), targets=["0", "2"], lanes=2)
    assert torch.equal(model(x_NI), wanted_NI)
    for lane in range(2):
        assert {value.dtype for value in d2lora.adapter_parameters(model, lane).values()} == {torch.float32}


@both_halves
def test_a_lane_over_half_precision_is_the_lane_alone(dtype: torch.dtype) -> None:
    """Scales on the output, on the input and none; unequal ranks and rows; a bias; dropout."""
    lanes = [
        d2lora.Lane("d2lora", config_of("d2lora", {"rank": 2, "dropout": 0.2}), 0),
        d2lora.Lane("d2lora", config_of("d2lora", {"norm_axis": "in"}), 1),
        d2lora.Lane("lora", config_of("lora", {"rank": 4}), 2),
        d2lora.Lane("dora", config_of("dora", {}), 3),
    ]
    counts = [3, 3, 5, 1]

    def run(chosen: list[int]) -> list[Tensor]:
        model = nn.Sequential(nn.Linear(IN, OUT), nn.Tanh(), nn.Linear(OUT, IN)).to(dtype)
        for index, parameter in enumerate(model.parameters()):
            parameter.data.copy_(normal(*parameter.shape, seed=10 + index, dtype=dtype) / 8)
        d2lora.attach_lanes(model, [lanes[lane] for lane in chosen], ["0", "2"])
        parameters = [d2lora.adapter_parameters(model, index) for index in range(len(chosen))]
        with torch.no_grad():
            for lane, own in zip(chosen, parameters, strict=True):
                for index, value in enumerate(own.values()):
                    value += 0.05 * normal(*value.shape, seed=100 * lane + index, dtype=torch.float32)
        rows = [normal(counts[lane], 7, IN, seed=20 + lane, dtype=dtype) for lane in chosen]
        with d2lora.lane_rows(model, [counts[lane] for lane in chosen]):
            y = model(torch.cat(rows))
            y.square().sum().backward()
        return [torch.cat([value.grad.flatten() for value in own.values()]) for own in parameters]

    together = run([0, 1, 2, 3])
    for lane in range(4):
        (alone,) = run([lane])
        assert (
            relative(together[lane], alone.double()) < 4 * torch.finfo(dtype).eps
        )  # products of other sizes round apart


@both_halves
def test_autocast_over_a_float32_base_takes_the_same_form(dtype: torch.dtype) -> None:
    config = replace(config_of("d2lora", {}), rank=3)
    model = nn.Sequential(nn.Linear(IN, OUT, bias=False))
    d2lora.attach(model, "d2lora", config, targets=["0"])
    with torch.no_grad():
        for value in d2lora.adapter_parameters(model, 0).values():
            value += 0.02
    x_NI = normal(6, IN, seed=2, dtype=torch.float32)
    ((_, exact),) = model[0].thin([0])
    with torch.autocast("cpu", dtype=dtype):
        y_NO = model(x_NI)
        ((_, thin),) = model[0].thin([0])
    assert torch.equal(thin.out_scale_LO, exact.out_scale_LO)  # norms are not computed in half precision
    assert y_NO.dtype == dtype
    wanted_NO = x_NI.double() @ model[0].effective_weight(0).double().mT
    assert relative(y_NO.detach(), wanted_NO) < 2 * torch.finfo(dtype).eps


@both_halves
@pytest.mark.parametrize("largest", [0.0, 10.0, 100.0])
@pytest.mark.parametrize(("method", "settings"), [("dora", {}), ("d2lora", {})], ids=str)
def test_the_gradient_of_a_scale_does_not_drown_in_a_large_bias(
    method: str, settings: dict[str, Any], largest: float, dtype: torch.dtype
) -> None:
    """Some models have biases of a hundred on queries and keys."""
    config, module = config_of(method, settings), d2lora.get_method(method)
    weight_OI = normal(OUT, IN, seed=1, dtype=dtype) / 8
    bias_O = torch.linspace(-largest, largest, OUT).to(dtype)
    x_NI, dy_NO = normal(4 * ROWS, IN, seed=2, dtype=dtype), normal(4 * ROWS, OUT, seed=3, dtype=dtype)
    params = of_size(method, config, weight_OI, 0.02)
    thin = module.factored(BaseWeight(weight_OI), {name: value[None] for name, value in params.items()}, config)
    y_NO = apply_factored(x_NI, weight_OI, thin, [4 * ROWS], bias_O=bias_O)
    gradients = torch.autograd.grad(y_NO, list(params.values()), dy_NO)
    exact = {name: value.detach().double().requires_grad_() for name, value in params.items()}
    wanted_NO = x_NI.double() @ module.effective_weight(weight_OI.double(), exact, config).mT + bias_O.double()
    wanted = torch.autograd.grad(wanted_NO, list(exact.values()), dy_NO.double())
    for got, want in zip(gradients, wanted, strict=True):
        assert relative(got, want) < torch.finfo(dtype).eps / (2 if want.ndim == 1 else 8)
