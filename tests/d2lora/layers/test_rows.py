"""Rows belong to lanes by count: an input with other rows than the pass has is refused, however many they are."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import d2lora
from tests.d2lora.layers.test_adapted import lane, shake, two_layers

UNKNOWN = "it is not known whose rows they are"


class Experts(nn.Module):
    """Two experts, each for the tokens that are routed to it, as mixtures of experts have them."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList([nn.Linear(6, 6) for _ in range(2)])

    def forward(self, x: Tensor, first: Tensor) -> Tensor:
        y = torch.empty_like(x)
        y[first], y[~first] = self.experts[0](x[first]), self.experts[1](x[~first])
        return y


def experts(lanes: int) -> nn.Module:
    torch.manual_seed(0)
    model = Experts().double()
    d2lora.attach_lanes(model, [lane("lora", seed) for seed in range(lanes)], ["experts.*"])
    shake(model)
    return model


@pytest.mark.parametrize("routed", [2, 4, 6, 8, 12, 16])
@pytest.mark.parametrize("counts", [None, [2, 2], [4, 0]])
def test_a_routed_part_of_the_rows_is_refused_though_lanes_divide_it(routed: int, counts: list[int] | None) -> None:
    """Every number here is a multiple of the lanes: it used to be computed with other lanes' adapters."""
    model, x = experts(2), torch.randn(24, 6, dtype=torch.float64)
    first = torch.arange(24) < routed
    rows = d2lora.lane_rows(model, counts if counts is None else [6 * count for count in counts])
    with rows, pytest.raises(ValueError, match=rf"24 rows .* for 2 lanes\), but a layer's input has {routed} rows"):
        model(x, first)


@pytest.mark.parametrize("routed", [0, 1, 3, 7, 8])
def test_experts_of_one_lane_take_whatever_is_routed_to_them(routed: int) -> None:
    model, x = experts(1), torch.randn(8, 6, dtype=torch.float64)
    first = torch.arange(8) < routed
    wanted = d2lora.merge(model)(x, first)
    torch.testing.assert_close(model(x, first), wanted)
    with d2lora.lane_rows(model, [8]):
        torch.testing.assert_close(model(x, first), wanted)


@pytest.mark.parametrize(
    ("counts", "lengths", "shape"),
    [
        ([1, 3], None, (5,)),
        ([1, 3], None, (8,)),  # a multiple
        ([1, 3], None, (2,)),  # a part
        ([1, 3], None, (3, 4)),  # sequence first: as many numbers, other rows
        ([2, 2], None, (1, 4)),
        ([1, 1], [5, 5], (5, 2)),
        ([1, 2], [4, 3], (1, 9)),
        ([1, 2], [4, 3], (20,)),  # twice as many places
        ([1, 2], [4, 3], (5, 2)),
        ([0, 0], None, (2,)),
    ],
)
def test_an_input_with_other_rows_than_the_pass_is_refused(
    counts: list[int], lengths: list[int] | None, shape: tuple[int, ...]
) -> None:
    model = two_layers([lane("lora"), lane("lora", 1)])
    with d2lora.lane_rows(model, counts, lengths=lengths), pytest.raises(ValueError, match=UNKNOWN):
        model(torch.zeros(*shape, 6, dtype=torch.float64))


def test_rows_of_equal_groups_are_those_of_the_batch_that_enters_the_model() -> None:
    """A layer called by itself has no batch; called by the model it has, by name, place or beside other things."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 6)

        def forward(self, scale: float, x: Tensor | None = None, flags: Tensor | None = None, **more: Tensor) -> Tensor:
            return scale * self.inner(more["ids"] if x is None else x)

    model = d2lora.attach_lanes(Model().double(), [lane("lora"), lane("dora", 1)], ["inner"])
    x = torch.randn(4, 3, 6, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"not known how many rows .* 2 lanes: call the model that was given"):
        model.inner(x)
    for call in (lambda: model(2.0, x), lambda: model(scale=2.0, x=x), lambda: model(2.0, ids=x)):
        assert call().shape == x.shape
    assert model.inner(x).shape == x.shape  # the batch is still that one, as when a checkpoint computes it again
    assert model.inner(x.flatten(0, 1)).shape == (12, 6)
    with pytest.raises(ValueError, match=UNKNOWN):
        model.inner(x[:2])
    with pytest.raises(ValueError, match="3 rows cannot be shared equally by 2 lanes"):
        model(2.0, x[:3])
    model.register_forward_pre_hook(lambda module, args: (2.0, x))
    with pytest.raises(ValueError, match="not known how many rows"):
        model(2.0)  # no tensor enters, so the batch before is forgotten


def test_flat_layers_compute_what_they_compute_in_the_batch() -> None:
    model = two_layers([lane("lora"), lane("d2lora", 1)])
    shake(model)
    x = torch.randn(4, 3, 6, dtype=torch.float64)
    wanted = model(x)
    flat = nn.Sequential(nn.Flatten(0, 1), *model, nn.Unflatten(0, (4, 3)))
    model(x)  # tells the pass that 4 rows of 3 places have come
    torch.testing.assert_close(flat(x), wanted)
    with d2lora.lane_rows(model, [2, 2], lengths=[3, 3]):
        torch.testing.assert_close(flat(x), wanted)


def test_a_checkpointed_model_finds_its_rows_again_in_backward() -> None:
    model = two_layers([lane("lora"), lane("lora", 1)])
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    checkpoint(model, x, use_reentrant=False).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_has_batch_rows_of_its_own(copied: object) -> None:
    model = two_layers([lane("lora", 0, dropout=0.5), lane("lora", 1)])
    shake(model)
    x = torch.randn(4, 6, dtype=torch.float64)
    wanted = model(x)
    other = copied(model)  # type: ignore[operator]
    with d2lora.lane_rows(model, [1, 1]):
        torch.testing.assert_close(other(x), wanted)
    assert other[0].batch_rows is other[2].batch_rows is not model[0].batch_rows


def test_nothing_of_a_pass_is_left_behind() -> None:
    model = two_layers([lane("lora"), lane("lora", 1)])
    with pytest.raises(RuntimeError, match="stop"), d2lora.lane_rows(model, [3, 1], draw=4, lengths=[1, 1]):
        raise RuntimeError("stop")
    rows = model[0].batch_rows
    assert (rows.counts, rows.lengths, rows.places, rows.draws, rows.keys_B) == (None,) * 5
    assert not d2lora.merge(model)._forward_pre_hooks
    assert not d2lora.detach(model)._forward_pre_hooks


@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0), (0, 0), (2, 0, 5)])
@pytest.mark.parametrize("lanes", [1, 2])
def test_no_rows_are_taken_as_torch_takes_them(shape: tuple[int, ...], lanes: int) -> None:
    model = two_layers([lane("d2lora", seed, dropout=0.1) for seed in range(lanes)])
    x = torch.zeros(*shape, 6, dtype=torch.float64, requires_grad=True)
    y = model(x)
    assert y.shape == x.shape
    y.sum().backward()
    assert all(not one.grad.any() for one in d2lora.adapter_parameters(model).values())


def test_one_dimension_is_taken_as_torch_takes_it() -> None:
    model, x = two_layers([lane("d2lora", 0, dropout=0.1)]).eval(), torch.randn(6, dtype=torch.float64)
    shake(model)
    torch.testing.assert_close(model(x), model(x[None])[0])
    several = two_layers([lane("lora"), lane("dora", 1)])
    with d2lora.lane_rows(several, [0, 1]):
        torch.testing.assert_close(several(x), several(x[None])[0])
    with pytest.raises(ValueError, match=r"6 rows \(\[3, 3\] for 2 lanes\), but a layer's input has 1 rows"):
        several(x)


@pytest.mark.parametrize("shape", [(), (5,), (2, 12), (2, 1), (6, 5)])
def test_an_input_of_another_width_is_refused_with_both(shape: tuple[int, ...]) -> None:
    """Twice the width used to be read as twice the rows."""
    model = two_layers([lane("lora")])
    with pytest.raises(ValueError, match="A layer of 6 in features got an input of"):
        model(torch.zeros(shape, dtype=torch.float64))
