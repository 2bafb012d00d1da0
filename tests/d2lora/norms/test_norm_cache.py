"""Norms are those of the weight as it is, whoever has changed it since they were computed, and how."""

from __future__ import annotations

import copy
import gc
import io
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import d2lora
from d2lora.norms.base_weight import BaseWeight
from d2lora.norms.norm_cache import NormCache
from tests.d2lora.layers.test_adapted import lane, shake

METHODS = [lane("d2lora"), lane("d2lora", 1, norm_axis="in"), lane("d2lora", 2, readd=0), lane("lora", 3)]


def adapted() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6)).double()
    d2lora.attach_lanes(model, METHODS, ["*"])
    shake(model)
    return model


def other_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's state with other base weights: every norm is another."""
    generator = torch.Generator().manual_seed(5)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for name in ("0.weight", "2.weight"):
        state[name] = 3 * torch.randn(state[name].shape, generator=generator, dtype=torch.float64)
    return state


def in_place(model: nn.Module) -> None:
    with torch.no_grad():
        model[0].weight.mul_(5)
        model[2].weight[1] = 0


def new_parameter(model: nn.Module) -> None:
    model[0].weight = nn.Parameter(7 * model[0].weight.detach(), requires_grad=False)


def swapped_data(model: nn.Module) -> None:
    model[0].weight.data = 7 * model[0].weight.data


def swapped_twice(model: nn.Module) -> None:
    """The second may lie where the first weight lay."""
    for factor in (2.0, 3.0):
        model[0].weight.data = factor * model[0].weight.data


def swapped_under_a_view(model: nn.Module) -> None:
    whole = torch.randn(2, 8, 6, dtype=torch.float64)
    model[0].weight.data = whole[0]
    model(torch.zeros(4, 6, dtype=torch.float64))
    model[0].weight.data = whole[1]  # the same memory, further on


def transposed(model: nn.Module) -> None:
    model[0].weight = nn.Parameter(torch.randn(8, 6, dtype=torch.float64).mT.contiguous().mT, requires_grad=False)


def under_inference(model: nn.Module) -> None:
    with torch.inference_mode():
        model[0].weight.mul_(5)


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "load_state_dict": lambda model: model.load_state_dict(other_state(model)),
    "load_state_dict that assigns": lambda model: model.load_state_dict(other_state(model), assign=True),
    "in place": in_place,
    "a new parameter": new_parameter,
    "other data": swapped_data,
    "other data twice": swapped_twice,
    "other data of one memory": swapped_under_a_view,
    "other strides": transposed,
    "under inference": under_inference,
    "a narrower type and back": lambda model: model.to(torch.bfloat16).to(torch.float64),
    "a vector of the optimizer": lambda model: torch.nn.utils.vector_to_parameters(
        3 * torch.nn.utils.parameters_to_vector(model.parameters()), model.parameters()
    ),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_outputs_are_those_of_the_weight_as_it_is(change: str, training: bool) -> None:
    model, x = adapted(), torch.randn(4, 6, dtype=torch.float64)
    with torch.enable_grad() if training else torch.inference_mode():
        model(x)
    CHANGES[change](model)
    with d2lora.held_factors(model) as held:
        y = model(x)
        torch.testing.assert_close(model(x), y)
        held.backward()
    for index in range(len(METHODS)):
        merged = d2lora.merge(model, index)  # by the definition, which computes all norms anew
        torch.testing.assert_close(y[index], merged(x[index]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_norms_in_another_type_are_those_of_the_rounded_weight(dtype: torch.dtype) -> None:
    model, x = adapted(), torch.randn(4, 6, dtype=torch.float64)
    model(x)
    model.to(dtype)
    fresh = NormCache()
    for axis in ("out", "in"):
        known = model[0].base.norms(axis)
        assert torch.equal(known, BaseWeight(model[0].weight, fresh).norms(axis))
        assert known.dtype == torch.float32


def test_norms_are_computed_once_while_the_weight_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from d2lora.norms import norm_cache

    computed = []
    real = norm_cache._computed
    monkeypatch.setattr(norm_cache, "_computed", lambda *args: computed.append(args) or real(*args))
    model, x = adapted(), torch.randn(4, 6, dtype=torch.float64)
    for _ in range(3):
        model(x).sum().backward()
        with torch.inference_mode():
            model(x)
    assert len(computed) == 4  # two layers, two axes


@torch.inference_mode()
def test_a_weight_that_was_made_under_inference_has_its_own_norms_each_time() -> None:
    """Torch does not count what is written to it."""
    model, x = adapted(), torch.randn(4, 6, dtype=torch.float64)
    model[0].weight = nn.Parameter(4 * model[0].weight, requires_grad=False)
    for _ in range(2):
        y = model(x)
        torch.testing.assert_close(y[0], d2lora.merge(model)(x[0]), rtol=1e-10, atol=1e-10)
        model[0].weight.mul_(3)


def test_a_cache_keeps_no_weight_alive() -> None:
    """ZeRO-3 frees a gathered weight after each layer."""
    cache, weight = NormCache(), torch.randn(64, 64)
    cache.of(weight, "out")
    alive = weakref.ref(weight.untyped_storage())
    del weight
    gc.collect()
    assert alive() is None


def test_a_copied_or_saved_cache_is_empty_and_its_layer_right() -> None:
    model, x = adapted(), torch.randn(4, 6, dtype=torch.float64)
    wanted = model(x)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (copy.deepcopy(model), copy.copy(model), torch.load(file, weights_only=False)):
        torch.testing.assert_close(other(x), wanted)
    assert copy.deepcopy(model[0]._norms)._known == {}
