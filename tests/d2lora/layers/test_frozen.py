"""Frozen layers, with both kernels of their products: the same numbers as torch's own, forward and backward."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import d2lora
from d2lora.layers.adapted import AdaptedLinear
from d2lora.layers.frozen import FrozenLinear, freeze
from d2lora.layers.lanes import Lane
from d2lora.products import plain
from tests.d2lora.products.test_products import drawn, kernel

__all__ = ["kernel"]  # a fixture that every test here uses


@pytest.mark.parametrize("bias", [False, True])
def test_a_frozen_layer_computes_what_a_linear_one_does(bias: bool) -> None:
    linear = nn.Linear(20, 12, bias=bias).requires_grad_(False)
    frozen = freeze(nn.Sequential(copy.deepcopy(linear)))[0]  # type: ignore[index]
    assert type(frozen) is FrozenLinear
    gradients = []
    for layer in (linear, frozen):
        x = drawn(3, 7, 20).requires_grad_()
        y = layer(x)
        (y * drawn(3, 7, 12, seed=1)).sum().backward()
        gradients.append((y, x.grad))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-5)


def test_a_weight_that_is_trained_after_all_gets_its_gradient() -> None:
    layer = freeze(nn.Sequential(nn.Linear(4, 3)))[0].requires_grad_(True)  # type: ignore[index]
    layer(drawn(5, 4)).sum().backward()
    assert layer.weight.grad is not None


def test_what_somebody_has_made_of_a_layer_stays() -> None:
    class Special(nn.Linear):
        pass

    plain, special, patched = nn.Linear(4, 4), Special(4, 4), nn.Linear(4, 4)
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    patched.forward = lambda x: 2 * x  # type: ignore[method-assign]
    seen: list[nn.Module] = []
    plain.register_forward_hook(lambda module, *_: seen.append(module))
    model = nn.Sequential(plain, special, patched, normed, nn.Linear(4, 4))
    keys = list(model.state_dict())
    d2lora.attach_lanes(model, [Lane("lora", d2lora.get_method("lora").Config(rank=2))], ["4"])
    assert [type(part) for part in model[1:3]] == [Special, nn.Linear]
    assert type(model[0]) is FrozenLinear
    assert type(normed) not in (nn.Linear, FrozenLinear)
    x = drawn(8, 4)
    model(x)
    assert seen == [plain]
    assert torch.equal(patched(x), 2 * x)
    assert list(d2lora.detach(model).state_dict()) == keys
    assert type(model[0]) is nn.Linear


def test_layers_whose_weights_are_elsewhere_are_detached_all_the_same() -> None:
    """ZeRO-3 leaves empty weights behind."""
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 6))
    d2lora.attach_lanes(model, [Lane("lora", d2lora.get_method("lora").Config(rank=2))], ["1"])
    for layer in model:
        layer.weight.data = torch.empty(0)  # type: ignore[union-attr]
    d2lora.detach(model)
    assert [(type(layer), layer.in_features, layer.out_features) for layer in model] == [  # type: ignore[union-attr]
        (nn.Linear, 6, 5),
        (nn.Linear, 5, 6),
    ]


def test_no_rows_and_another_type_under_autocast_are_what_torch_makes_of_them() -> None:
    layer = freeze(nn.Sequential(nn.Linear(4, 3)))[0]  # type: ignore[index]
    assert layer(drawn(0, 4)).shape == (0, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(drawn(5, 4)).dtype == torch.bfloat16
    with pytest.raises(RuntimeError, match="dtype"):
        layer.bfloat16()(drawn(5, 4))


class Tied(nn.Module):
    """A model whose head is its embedding, as small language models have it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.inner = nn.Embedding(9, 6), nn.Linear(6, 6)
        self.head = nn.Linear(6, 9, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.head(self.inner(self.embed(ids)))
        return out


def test_adapters_freeze_the_rest_and_leave_plain_layers_tied_as_they_were() -> None:
    model, ids = Tied(), torch.arange(9)
    before = model(ids)
    d2lora.attach_lanes(model, [Lane("d2lora", d2lora.get_method("d2lora").Config(rank=2))], ["inner"])
    assert type(model.head) is FrozenLinear
    torch.testing.assert_close(model(ids), before, rtol=1e-5, atol=1e-5)
    merged = d2lora.merge(model)
    for one in (merged, d2lora.detach(model)):
        assert [type(part) for part in one.modules()] == [Tied, nn.Embedding, nn.Linear, nn.Linear]
        assert one.head.weight is one.embed.weight
    assert merged.head.weight is not model.head.weight


def test_long_lanes_in_float32_equal_the_definition_in_float64() -> None:
    config = d2lora.get_method("d2lora").Config(rank=3, alpha=6.0)
    by_dtype = {}
    for dtype in (torch.float32, torch.float64):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(40, 30)).to(dtype)
        d2lora.attach_lanes(model, [Lane("d2lora", config, seed) for seed in (0, 1)], ["0"])
        layer = model[0]
        assert isinstance(layer, AdaptedLinear)
        for lane in (0, 1):
            for place, value in enumerate(layer.params(lane).values()):
                value.data = (0.3 * drawn(*value.shape, seed=10 * lane + place)).to(dtype)
        x = drawn(2 * plain.LONG, 40, seed=5).to(dtype).requires_grad_()
        y = model(x)
        (y * drawn(*y.shape, seed=6).to(dtype)).sum().backward()
        named = {f"{name}_{lane}": value.grad for lane in (0, 1) for name, value in layer.params(lane).items()}
        by_dtype[dtype] = {"y": y.detach(), "x": x.grad} | named
    for name, wanted in by_dtype[torch.float64].items():
        assert wanted is not None
        distance = (by_dtype[torch.float32][name].double() - wanted).norm() / wanted.norm()  # type: ignore[union-attr]
        assert distance < 1e-5, name
