"""AdaptedLinear: rows and lanes, memory, dropout; attach and export."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import d2lora
from d2lora.attachment import adapted_layers
from d2lora.device_profile import CPU, PROFILES


def two_layers(lanes: list[d2lora.Lane], width: int = 6) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(width, width + 2), nn.GELU(), nn.Linear(width + 2, width)).double()
    return d2lora.attach_lanes(model, lanes, ["*"])


def lane(method: str, seed: int = 0, **settings: object) -> d2lora.Lane:
    return d2lora.Lane(method, d2lora.get_method(method).Config(**({"rank": 2} | settings)), seed)


def shake(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))


@pytest.mark.parametrize("counts", [(1, 3, 2), (2, 2, 2), (0, 4, 4), (5, 0, 1)])
def test_unequal_and_absent_lanes_give_what_each_lane_gives_alone(counts: tuple[int, ...]) -> None:
    model = two_layers([lane("lora"), lane("d2lora", norm_axis="in"), lane("dora")])
    shake(model)
    x = torch.randn(sum(counts), 3, 6, dtype=torch.float64)
    with d2lora.lane_rows(model, counts):
        y = model(x)
    for index, (part, wanted) in enumerate(zip(x.split(counts), y.split(counts), strict=True)):
        torch.testing.assert_close(d2lora.merge(model, index)(part), wanted, rtol=1e-12, atol=1e-12)


def test_rows_that_do_not_fit_the_lanes_are_an_error_with_numbers() -> None:
    model = two_layers([lane("lora"), lane("lora", 1)])
    with pytest.raises(ValueError, match="5 rows cannot be shared equally by 2 lanes"):
        model(torch.zeros(5, 6, dtype=torch.float64))
    with d2lora.lane_rows(model, [1, 3]), pytest.raises(ValueError, match=r"4 rows \(\[1, 3\] for 2 lanes.*has 5 rows"):
        model(torch.zeros(5, 6, dtype=torch.float64))


def test_a_diverging_lane_leaves_its_neighbours_bit_identical() -> None:
    model = two_layers([lane("d2lora"), lane("dora", 1), lane("lora", 2)])
    shake(model)
    x = torch.randn(6, 6, dtype=torch.float64)

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(x).square().sum().backward()
        return {
            f"{i}.{name}": p.grad.clone() for i in (0, 2) for name, p in d2lora.adapter_parameters(model, i).items()
        }

    before = gradients()
    with torch.no_grad():
        next(iter(d2lora.adapter_parameters(model, 1).values())).fill_(float("nan"))
    after = gradients()
    assert all(torch.equal(before[name], after[name]) for name in before)


class CountAllocations(TorchDispatchMode):
    """Counts the results of operations that own memory of their own and have at least ``numel`` elements."""

    def __init__(self, numel: int) -> None:
        super().__init__()
        self.numel, self.count = numel, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        read = {arg.untyped_storage().data_ptr() for arg in args if isinstance(arg, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else [result]:
            if isinstance(one, torch.Tensor) and one.numel() >= self.numel:
                self.count += one.untyped_storage().data_ptr() not in read  # a view allocates nothing
        return result


@pytest.mark.parametrize("method", d2lora.available_methods())
@pytest.mark.parametrize("axis", ["out", "in"])
def test_training_allocates_no_dense_update(method: str, axis: str) -> None:
    """Thin tensors here have at most 64 * 8 * 2 elements; a dense update of the 64 x 64 weight has 4,096."""
    settings = {"norm_axis": axis} if method == "d2lora" else {}
    layer = nn.Sequential(nn.Linear(64, 64, bias=False))
    d2lora.attach_lanes(layer, [lane(method, seed, **settings) for seed in range(2)], ["0"])
    x = torch.randn(4, 64, requires_grad=True)
    layer(x).sum().backward()  # the norms of the frozen weight are computed once, here
    with CountAllocations(64 * 64) as counter:
        layer(x).sum().backward()
    assert counter.count == 0


def test_the_count_of_allocations_sees_a_dense_update() -> None:
    layer = nn.Sequential(nn.Linear(64, 64, bias=False))
    d2lora.attach_lanes(layer, [lane("d2lora")], ["0"])
    with CountAllocations(64 * 64) as counter:
        layer[0].effective_weight(0)
    assert counter.count > 0


def test_dropout_acts_in_training_only_and_a_lane_draws_what_it_draws_alone() -> None:
    dropped = lane("d2lora", 3, dropout=0.5)
    alone, packed = two_layers([dropped]), two_layers([lane("lora"), dropped])
    for model, index in ((alone, 0), (packed, 1)):
        with torch.no_grad():
            for parameter in d2lora.adapter_parameters(model, index).values():
                parameter.fill_(0.3)
    x = torch.randn(2, 6, dtype=torch.float64)
    y = alone(x)
    torch.testing.assert_close(packed(torch.cat([x, x]))[2:], y)
    with d2lora.lane_rows(alone, None, draw=1):
        assert not torch.allclose(alone(x), y)
    assert not torch.allclose(alone.eval()(x), y)
    torch.testing.assert_close(d2lora.merge(alone)(x), alone(x))


def test_rows_of_several_lengths_in_one_row_are_those_of_their_lanes() -> None:
    model = two_layers([lane("d2lora"), lane("lora", 1), lane("dora", 2)])
    x = torch.randn(3, 4, 6, dtype=torch.float64)
    with d2lora.lane_rows(model, [1, 0, 2]):
        wanted = model(x)
    flat = torch.cat([x[0], x[1, :3], x[2, :3]])
    for shape in ((1, 10), (10,)):  # some architectures flatten a batch before a layer
        with d2lora.lane_rows(model, [1, 0, 2], lengths=[4, 0, 3]):
            y = model(flat.view(*shape, 6)).view(10, -1)
        torch.testing.assert_close(y, torch.cat([wanted[0], wanted[1, :3], wanted[2, :3]]))


def test_lengths_that_do_not_make_up_the_batch_are_refused_with_the_numbers() -> None:
    model = two_layers([lane("lora"), lane("lora", 1)])
    with (
        d2lora.lane_rows(model, [1, 2], lengths=[4, 3]),
        pytest.raises(ValueError, match=r"\[1, 2\] of \[4, 3\] tokens for 2 lanes.*input has 1 rows \(1 x 9\)"),
    ):
        model(torch.randn(1, 9, 6, dtype=torch.float64))
    with pytest.raises(ValueError, match="2 lengths and no counts"), d2lora.lane_rows(model, None, lengths=[4, 3]):
        pass


def test_dropout_in_bfloat16_drops_what_it_does_in_float32() -> None:
    model = two_layers([lane("lora", 1, dropout=0.1), lane("lora", 2)]).float()
    x = torch.randn(2, 5, 6)
    for index in range(2):
        for parameter in d2lora.adapter_parameters(model, index).values():
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(index))
    wanted = model(x)
    half = model.bfloat16()(x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half.float() - wanted).norm() / wanted.norm() < 0.02


def test_dropout_of_a_flat_batch_is_that_of_its_rows() -> None:
    model = two_layers([lane("lora", 1, dropout=0.5), lane("lora", 2, dropout=0.5)])
    x = torch.randn(3, 5, 6, dtype=torch.float64)
    for index in range(2):
        for parameter in d2lora.adapter_parameters(model, index).values():
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(index))
    with d2lora.lane_rows(model, [1, 2], lengths=[5, 5]), torch.no_grad():
        rows, flat = model(x), model(x.flatten(0, 1))
    torch.testing.assert_close(flat, rows.flatten(0, 1))


def test_a_target_that_matches_nothing_names_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"Target '\*\.k_proj' matches no linear layer.*There are: 0, 2\."):
        d2lora.attach_lanes(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)), [lane("lora")], ["*.k_proj"])


def test_a_model_is_adapted_once() -> None:
    model = two_layers([lane("lora")])
    with pytest.raises(ValueError, match="adapted already"):
        d2lora.attach_lanes(model, [lane("lora")], ["*"])


def test_a_state_with_other_names_or_shapes_changes_nothing() -> None:
    model = two_layers([lane("lora")])
    before = d2lora.adapter_state(model)
    with pytest.raises(ValueError, match="1 tensors are missing"):
        d2lora.load_adapter_state(model, {name: before[name] + 1 for name in list(before)[1:]})
    with pytest.raises(ValueError, match="has shape"):
        d2lora.load_adapter_state(model, {name: value[..., :1] + 1 for name, value in before.items()})
    assert all(torch.equal(value, before[name]) for name, value in d2lora.adapter_state(model).items())


def test_half_precision_bases_train_in_float32_and_keep_their_type() -> None:
    model = nn.Sequential(nn.Linear(8, 8)).to(torch.bfloat16)
    d2lora.attach(model, "d2lora", d2lora.get_method("d2lora").Config(rank=2), ["0"])
    assert {p.dtype for p in d2lora.adapter_parameters(model).values()} == {torch.float32}
    assert model(torch.zeros(2, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert d2lora.merge(model)[0].weight.dtype == torch.bfloat16


@pytest.mark.parametrize("method", ["lora", "d2lora"])
def test_an_export_of_full_rank_is_exact_and_a_smaller_one_tells_its_error(method: str) -> None:
    model = two_layers([lane(method)])
    shake(model)
    exact = d2lora.to_lora(model)
    assert exact.error < 1e-6
    for name, layer in adapted_layers(model).items():
        a, b = (exact.state[f"base_model.model.{name}.lora_{side}.weight"] for side in "AB")
        torch.testing.assert_close(layer.weight + b @ a, layer.effective_weight(0))
    assert exact.config["r"] == (2 if method == "lora" else 6)
    smaller = d2lora.to_lora(model, rank=1)
    deltas = [layer.effective_weight(0) - layer.weight for layer in adapted_layers(model).values()]
    values = [torch.linalg.svdvals(delta) for delta in deltas]
    lost, whole = sum(v[1:].square().sum() for v in values), sum(v.square().sum() for v in values)
    assert smaller.error == pytest.approx(float((lost / whole).sqrt()))
    assert d2lora.to_lora(model, energy=0.99).error <= 0.1


def test_peft_reads_an_export() -> None:
    peft = pytest.importorskip("peft", reason="peft is a development dependency")
    model = two_layers([lane("d2lora")])
    shake(model)
    exported = d2lora.to_lora(model)
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6)).double()
    config = peft.LoraConfig(**{k: v for k, v in exported.config.items() if k not in ("peft_type", "task_type")})
    wrapped = peft.get_peft_model(plain, config)
    result = peft.set_peft_model_state_dict(wrapped, exported.state)
    assert not result.unexpected_keys
    x = torch.randn(3, 6, dtype=torch.float64)
    torch.testing.assert_close(wrapped(x), model(x), rtol=1e-5, atol=1e-5)


def held_model() -> tuple[nn.Module, torch.Tensor]:
    """Lanes of all methods, out of order, so that stacking them must put them back."""
    model = two_layers(
        [lane("lora"), lane("d2lora"), lane("dora", norm_grad="through"), lane("d2lora", 1), lane("lora", 1)]
    )
    shake(model)
    return model, torch.randn(10, 3, 6, dtype=torch.float64)


def gradients_of(model: nn.Module) -> dict[str, torch.Tensor]:
    gradients = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    model.zero_grad()
    return gradients


def test_held_factors_give_the_gradients_of_passes_that_build_their_own() -> None:
    model, x = held_model()
    for part in x.split(5):
        model(part).square().sum().backward()
    wanted = gradients_of(model)
    with d2lora.held_factors(model) as held:
        for part in x.split(5):
            model(part).square().sum().backward()
        assert not gradients_of(model)
        held.backward()
    gradients = gradients_of(model)
    assert gradients.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("together", [1, 10**9])
def test_layers_of_one_shape_that_are_built_together_are_as_if_built_alone(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROFILES, "cpu", replace(CPU, built_together=together))
    lanes = [lane("lora"), lane("d2lora", norm_axis="in"), lane("dora"), lane("d2lora", 1), lane("lora", 1)]
    model = nn.Sequential(*(nn.Linear(6, 6) for _ in range(4)), nn.Linear(6, 8)).double()
    with torch.no_grad():
        model[1].weight[2] = 0  # a row, and in the next layer a column, without a norm
        model[2].weight[:, 3] = 0
    d2lora.attach_lanes(model, lanes, ["*"])
    shake(model)
    x = torch.randn(10, 3, 6, dtype=torch.float64)
    used = nn.Sequential(*(layer for index, layer in enumerate(model) if index != 2))  # one layer takes no part
    rows = [1] * len(lanes)
    for part in x.split(5):
        with d2lora.lane_rows(model, rows):
            used(part).square().sum().backward()
    wanted = gradients_of(model)
    with d2lora.lane_rows(model, rows), d2lora.held_factors(model) as held:
        for part in x.split(5):
            used(part).square().sum().backward()
        held.backward()
        assert len(held._built) == (4 if together == 1 else 2)
    gradients = gradients_of(model)
    for name, gradient in wanted.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-10, atol=1e-12)
    assert all(not gradients[name].any() for name in gradients.keys() - wanted.keys())


def test_held_factors_are_built_once_and_forgotten_afterwards() -> None:
    model, x = held_model()
    with torch.no_grad():
        with d2lora.held_factors(model):
            y = model(x)
            shake(model)
            assert torch.equal(model(x), y)  # within, a changed parameter is not seen
        assert not torch.allclose(model(x), y)


def test_checkpointing_neither_builds_held_factors_again_nor_changes_gradients() -> None:
    from torch.utils.checkpoint import checkpoint

    model, x = held_model()
    x.requires_grad_()
    model(x).square().sum().backward()
    wanted = gradients_of(model)
    with d2lora.held_factors(model) as held:
        checkpoint(model, x, use_reentrant=False).square().sum().backward()
        held.backward()
    for name, gradient in gradients_of(model).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-10, atol=1e-12)


def test_a_model_without_adapters_holds_nothing() -> None:
    with d2lora.held_factors(nn.Linear(2, 2)) as held:
        held.backward()
        assert held.pending() == []


def test_a_detached_model_is_the_base_and_can_be_adapted_again() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.GELU(), nn.Linear(6, 6, bias=False)).double()
    x, weight = torch.randn(4, 6, dtype=torch.float64), model[0].weight
    y = model(x)
    d2lora.attach_lanes(model, [lane("d2lora"), lane("dora")], ["*"])
    shake(model)
    assert d2lora.detach(model) is model
    assert type(model[0]) is nn.Linear
    assert model[0].weight is weight
    assert not adapted_layers(model)
    assert torch.equal(model(x), y)
    d2lora.attach_lanes(model, [lane("lora")], ["*"])
    torch.testing.assert_close(model(x), y)


def test_held_factors_that_nobody_carries_back_are_freed() -> None:
    """A function that saves its own result would hold itself through the hooks, where no collector sees it."""
    model, x = held_model()
    with d2lora.held_factors(model) as held:
        model(x)
        (built, _), *_ = held._built
        node = built.out_scale_LO.grad_fn
        while not type(node).__name__.startswith("_ThinNorms"):
            node = next(before for before, _ in node.next_functions if before is not None)
        alive = weakref.ref(node)
        del node, built
    del held
    gc.collect()
    assert alive() is None


def test_a_bias_above_a_row_of_zeros_gives_dora_a_finite_gradient() -> None:
    linear = nn.Linear(4, 3).double()
    with torch.no_grad():
        linear.weight[0] = 0
        linear.bias.fill_(5.0)
    model = d2lora.attach_lanes(nn.Sequential(linear), [lane("dora")], ["*"])
    model(torch.ones(2, 4, dtype=torch.float64)).sum().backward()
    assert all(one.grad.isfinite().all() for one in d2lora.adapter_parameters(model).values())


@pytest.mark.parametrize("method", d2lora.available_methods())
def test_autocast_computes_in_half_precision_and_trains_in_full(method: str) -> None:
    torch.manual_seed(0)
    model = d2lora.attach_lanes(nn.Sequential(nn.Linear(8, 8)), [lane(method)], ["*"])
    shake(model)
    x = torch.randn(4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)
        y.float().square().sum().backward()
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), model(x), rtol=0.1, atol=0.1)
    assert all(one.grad.dtype == torch.float32 for one in d2lora.adapter_parameters(model).values())


@pytest.mark.parametrize("axis", ["out", "in"])
def test_training_goes_on_after_inference_mode(axis: str) -> None:
    model = two_layers([lane("d2lora", norm_axis=axis)])
    x = torch.randn(4, 6, dtype=torch.float64)
    with torch.inference_mode():
        y = model(x)
    again = model(x)
    again.sum().backward()
    assert torch.equal(again, y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_bias_that_is_trained_gets_its_gradient_and_a_weight_is_refused(dtype: torch.dtype) -> None:
    model = d2lora.attach_lanes(nn.Sequential(nn.Linear(8, 6)).to(dtype), [lane("d2lora")], ["0"])
    x = torch.randn(5, 8).to(dtype)
    model[0].bias.requires_grad_(True)
    model(x).sum().backward()
    assert torch.equal(model[0].bias.grad, torch.full((6,), 5.0, dtype=dtype))
    model[0].weight.requires_grad_(True)
    with pytest.raises(ValueError, match=r"is frozen, .* set it to False, or .* d2lora\.detach"):
        model(x)


def test_factors_that_a_look_without_gradient_has_built_train_all_the_same() -> None:
    model = d2lora.attach_lanes(nn.Sequential(nn.Linear(8, 6)), [lane("d2lora")], ["0"])
    shake(model)
    x = torch.randn(4, 8)
    model(x).square().sum().backward()
    wanted = [one.grad.clone() for one in d2lora.adapter_parameters(model).values()]
    model.zero_grad()
    with d2lora.held_factors(model) as held:
        with torch.no_grad():
            model(x)
        model(x).square().sum().backward()
        held.backward()
    for one, want in zip(d2lora.adapter_parameters(model).values(), wanted, strict=True):
        torch.testing.assert_close(one.grad, want)


def test_backward_within_autocast_computes_norms_in_full() -> None:
    model = d2lora.attach_lanes(nn.Sequential(nn.Linear(64, 48)), [lane("d2lora")], ["0"])
    shake(model)
    x, dy = torch.randn(32, 64), torch.randn(32, 48).to(torch.bfloat16)
    gradients = []
    for inside in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            y = model(x)
            if inside:
                y.backward(dy)
        if not inside:
            y.backward(dy)
        gradients.append([one.grad.clone() for one in d2lora.adapter_parameters(model).values()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_float64_stays_float64_under_autocast() -> None:
    model = d2lora.attach_lanes(nn.Sequential(nn.Linear(8, 6)).double(), [lane("d2lora")], ["0"])
    with torch.autocast("cpu", torch.bfloat16):
        assert model(torch.randn(2, 8, dtype=torch.float64)).dtype == torch.float64
