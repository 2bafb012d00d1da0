"""Every registered method keeps the contract of d2lora/method.py, in float64 against its definition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import d2lora
from d2lora.kernels.apply import apply_factored
from d2lora.methods import METHODS
from d2lora.norms.base_weight import BaseWeight
from tests.helpers.methods import IDS, SETTINGS, config_of, trained

OUT, IN, ROWS = 7, 5, 4
EXACT = {"rtol": 1e-12, "atol": 1e-12}  # float64: what is left is the order of additions

all_methods = pytest.mark.parametrize(("method", "settings"), SETTINGS, ids=IDS)


@pytest.fixture(autouse=True)
def _double() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def weight_OI() -> torch.Tensor:
    return torch.randn(OUT, IN, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def x_NI() -> torch.Tensor:
    return torch.randn(ROWS, IN, generator=torch.Generator().manual_seed(2))


def test_the_table_of_methods_is_the_folder_of_methods() -> None:
    folder = Path(d2lora.__file__).parent / "methods"
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == set(METHODS)


def test_an_unknown_method_names_the_nearest() -> None:
    known = ", ".join(sorted(METHODS))
    with pytest.raises(ValueError, match=rf"Unknown method 'dorra'\. Did you mean 'dora'\? Known: {known}\."):
        d2lora.get_method("dorra")


@all_methods
def test_training_starts_at_the_base(method: str, settings: dict[str, Any], weight_OI: torch.Tensor) -> None:
    config = config_of(method, settings)
    start = d2lora.get_method(method).init(weight_OI, config, torch.Generator().manual_seed(0))
    torch.testing.assert_close(d2lora.get_method(method).effective_weight(weight_OI, start, config), weight_OI, **EXACT)


@all_methods
def test_the_effective_weight_is_that_with_the_methods_own_update(
    method: str, settings: dict[str, Any], weight_OI: torch.Tensor
) -> None:
    config, module = config_of(method, settings), d2lora.get_method(method)
    params = trained(method, config, weight_OI)
    update_OI = module.update(params, config)
    acting_OI = module.with_update(weight_OI, update_OI, params, config)
    assert torch.equal(acting_OI, module.effective_weight(weight_OI, params, config))
    start = module.init(weight_OI, config, torch.Generator().manual_seed(0))
    assert not module.update(start, config).any()
    assert not torch.allclose(module.with_update(weight_OI, update_OI, start, config), weight_OI)


@all_methods
def test_shapes_are_those_of_the_start(method: str, settings: dict[str, Any], weight_OI: torch.Tensor) -> None:
    config = config_of(method, settings)
    start = d2lora.get_method(method).init(weight_OI, config, torch.Generator().manual_seed(0))
    shapes = d2lora.get_method(method).shapes(OUT, IN, config)
    assert {name: tuple(value.shape) for name, value in start.items()} == shapes


@all_methods
def test_the_fast_path_is_the_definition_in_value_and_gradient(
    method: str, settings: dict[str, Any], weight_OI: torch.Tensor, x_NI: torch.Tensor
) -> None:
    config, module = config_of(method, settings), d2lora.get_method(method)
    lanes = 3
    each = [trained(method, config, weight_OI, seed) for seed in range(lanes)]
    x_LNI = torch.stack([x_NI * (lane + 1) for lane in range(lanes)]).requires_grad_()
    dy_LNO = torch.randn(lanes, ROWS, OUT, generator=torch.Generator().manual_seed(3))

    stacked = {name: torch.stack([params[name] for params in each]) for name in each[0]}
    thin = module.factored(BaseWeight(weight_OI), stacked, config)
    fast_LNO = apply_factored(x_LNI.flatten(0, 1), weight_OI, thin, [ROWS] * lanes).view(lanes, ROWS, OUT)
    leaves = [x_LNI, *(value for params in each for value in params.values())]
    fast = torch.autograd.grad((fast_LNO * dy_LNO).sum(), leaves, allow_unused=True, materialize_grads=True)

    slow_LNO = torch.stack(
        [x @ module.effective_weight(weight_OI, params, config).mT for x, params in zip(x_LNI, each, strict=True)]
    )
    slow = torch.autograd.grad((slow_LNO * dy_LNO).sum(), leaves, allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(fast_LNO, slow_LNO, **EXACT)
    for fast_gradient, slow_gradient in zip(fast, slow, strict=True):
        torch.testing.assert_close(fast_gradient, slow_gradient, rtol=1e-10, atol=1e-10)


@all_methods
@pytest.mark.parametrize("bias", [True, False])
def test_merged_equals_unmerged_and_only_adapters_get_gradients(
    method: str, settings: dict[str, Any], bias: bool, x_NI: torch.Tensor
) -> None:
    model = nn.Sequential(nn.Linear(IN, OUT, bias=bias), nn.Tanh(), nn.Linear(OUT, IN, bias=bias))
    d2lora.attach(model, method, config_of(method, settings), targets=["0", "2"], lanes=2, seeds=[0, 1])
    with torch.no_grad():
        for lane in range(2):
            for parameter in d2lora.adapter_parameters(model, lane).values():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(lane)))
    y = model(torch.cat([x_NI, x_NI]))
    for lane, y_NI in enumerate(y.chunk(2)):
        merged = d2lora.merge(model, lane)
        assert not any("Adapted" in type(module).__name__ for module in merged.modules())
        torch.testing.assert_close(merged(x_NI), y_NI, **EXACT)
    y.sum().backward()
    adapters = {id(p) for lane in range(2) for p in d2lora.adapter_parameters(model, lane).values()}
    for parameter in model.parameters():
        assert (parameter.grad is not None) <= (id(parameter) in adapters)
    assert any(parameter.grad is not None for parameter in model.parameters())


@all_methods
def test_lanes_are_separate_runs(method: str, settings: dict[str, Any], x_NI: torch.Tensor) -> None:
    """Five steps of descent; a lane of three beside lanes of another method ends where it ends alone."""
    config = config_of(method, settings)
    lane = d2lora.Lane(method, config, seed=4)
    others = [d2lora.Lane("lora", config_of("lora", {"rank": 5}), 1), d2lora.Lane("dora", config_of("dora", {}), 2)]

    def end_of(lanes: list[d2lora.Lane], index: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(IN, OUT), nn.Tanh(), nn.Linear(OUT, IN))
        d2lora.attach_lanes(model, lanes, ["*"])
        for _ in range(5):
            rows = torch.cat([x_NI * (1 + (number == index)) for number in range(len(lanes))])
            loss = model(rows).square().reshape(len(lanes), -1).mean(1).sum()
            model.zero_grad()
            loss.backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.grad is not None:
                        parameter -= 0.05 * parameter.grad
        return d2lora.adapter_state(model, index)

    alone = end_of([lane], 0)
    for index in range(3):
        packed = end_of([*others[:index], lane, *others[index:]], index)
        for name, value in alone.items():
            torch.testing.assert_close(packed[name], value, rtol=1e-9, atol=1e-12)


READDS: tuple[str, dict[str, Any]] = ("d2lora", {"readd": 1, "norm_axis": "out"})
INPUT_NORMS: tuple[str, dict[str, Any]] = ("d2lora", {"readd": 0, "norm_axis": "in"})
UNPROJECTED: list[tuple[str, dict[str, Any]]] = [("d2lora", {"readd": r, "projection": "off"}) for r in (0, 1)]


@pytest.mark.parametrize(
    "mixed",
    [[READDS, INPUT_NORMS, ("lora", {}), ("dora", {})], [READDS, ("lora", {}), ("dora", {})], UNPROJECTED],
    ids=["both scales", "an output scale", "no scale"],
)
def test_a_bfloat16_model_with_mixed_lanes_computes_in_bfloat16_and_trains_in_float32(
    mixed: list[tuple[str, dict[str, Any]]],
) -> None:
    lanes = [d2lora.Lane(method, config_of(method, settings), seed) for seed, (method, settings) in enumerate(mixed)]
    width, rows = 16, 3 * len(lanes)

    def run(dtype: torch.dtype) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width))
        model = model.to(torch.bfloat16).to(dtype)  # the same weights in both types
        d2lora.attach_lanes(model, lanes, ["*"])
        generator = torch.Generator().manual_seed(9)
        adapters = [p for lane in range(len(lanes)) for p in d2lora.adapter_parameters(model, lane).values()]
        with torch.no_grad():
            for parameter in adapters:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float32))
        x = torch.randn(rows, width, generator=torch.Generator().manual_seed(2)).to(torch.bfloat16).to(dtype)
        y = model(x)
        y.float().square().sum().backward()
        assert all(p.grad is not None and p.grad.dtype == p.dtype == torch.float32 for p in adapters)
        grads = {f"{i}": p.grad for i, p in enumerate(adapters)}
        assert all(grad.isfinite().all() for grad in grads.values())
        return y, grads

    (half, half_grads), (single, single_grads) = run(torch.bfloat16), run(torch.float32)
    assert half.dtype == torch.bfloat16
    assert half.isfinite().all()
    # bfloat16 keeps 8 bits: each of about ten roundings on the way is off by at most 2**-8 of what it rounds
    assert (half.float() - single).norm() <= 10 * 2**-8 * single.norm()
    for name, grad in single_grads.items():
        assert (half_grads[name] - grad).norm() <= 20 * 2**-8 * grad.norm(), name


@all_methods
def test_a_state_round_trips_bit_for_bit(method: str, settings: dict[str, Any]) -> None:
    def fresh(seed: int) -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(IN, OUT))
        return d2lora.attach(model, method, config_of(method, settings), ["0"], lanes=2, seeds=[seed, seed + 1])

    source, target = fresh(0), fresh(10)
    state = d2lora.adapter_state(source, lane=1)
    d2lora.load_adapter_state(target, state, lane=0)
    for name, value in d2lora.adapter_state(target, lane=0).items():
        assert torch.equal(value, state[name])
    assert d2lora.lane_of(d2lora.describe_adapter(source, 1), seed=1) == source[0].lanes[1]


def peft_has(method: str, settings: dict[str, Any]) -> bool | None:
    """Return whether PEFT has the method with these settings; None for a method that this table does not know."""
    plain_or_dora = settings.get("projection") == "off" or settings.get("readd", 1) == 0
    by_method = {"lora": True, "dora": True, "d2lora": plain_or_dora and settings.get("norm_axis", "out") == "out"}
    return by_method.get(method)


@all_methods
def test_the_form_for_peft_is_the_effective_weight(
    method: str, settings: dict[str, Any], weight_OI: torch.Tensor
) -> None:
    """PEFT's equations: W + scale B A, and a row's magnitude times its direction; None where neither holds."""
    config, module = config_of(method, settings), d2lora.get_method(method)
    params = trained(method, config, weight_OI)
    form = module.as_peft(BaseWeight(weight_OI), params, config)
    assert peft_has(method, settings) in (None, form is not None)
    if form is None:
        return
    moved_OI = weight_OI + form.scale * form.up_OR @ form.down_RI
    if form.magnitude_O is not None:
        moved_OI = form.magnitude_O[:, None] * moved_OI / moved_OI.norm(dim=1, keepdim=True)
    torch.testing.assert_close(moved_OI, module.effective_weight(weight_OI, params, config), **EXACT)


@all_methods
def test_a_rank_larger_than_a_side_is_an_error_with_numbers(
    method: str, settings: dict[str, Any], weight_OI: torch.Tensor
) -> None:
    config = config_of(method, settings | {"rank": 6})
    with pytest.raises(ValueError, match=r"rank=6 is larger than the smaller side of a 7 x 5 weight"):
        d2lora.get_method(method).init(weight_OI, config, torch.Generator())


@all_methods
def test_a_column_of_zeros_gives_finite_values_and_gradients(
    method: str, settings: dict[str, Any], weight_OI: torch.Tensor
) -> None:
    weight_OI[2] = 0
    weight_OI[:, 3] = 0
    config = config_of(method, settings)
    params = trained(method, config, weight_OI)
    weight = d2lora.get_method(method).effective_weight(weight_OI, params, config)
    weight.sum().backward()
    assert weight.isfinite().all()
    assert all(value.grad is None or value.grad.isfinite().all() for value in params.values())


def test_golden_values_and_gradients_of_d2lora(shared: Path) -> None:
    cases = json.loads((shared / "golden" / "d2lora.json").read_text())["cases"]
    assert len(cases) >= 24
    module = d2lora.get_method("d2lora")
    for case in cases:
        names = ("norm_axis", "norm_grad", "readd", "tau", "rank", "alpha")
        config = module.Config(**{name: case[name] for name in names})
        weight_OI, dy_NO = torch.tensor(case["weight"]), torch.tensor(case["dy"])
        x_NI = torch.tensor(case["x"]).requires_grad_()
        params = {name: torch.tensor(value).requires_grad_() for name, value in case["params"].items()}
        torch.testing.assert_close(
            module.effective_weight(weight_OI, params, config), torch.tensor(case["effective_weight"]), **EXACT
        )
        lanes = {name: value[None] for name, value in params.items()}
        thin = module.factored(BaseWeight(weight_OI), lanes, config)
        (apply_factored(x_NI, weight_OI, thin, [len(x_NI)]) * dy_NO).sum().backward()
        for name, value in (params | {"x": x_NI}).items():
            torch.testing.assert_close(value.grad, torch.tensor(case["grads"][name]), rtol=1e-10, atol=1e-10)
