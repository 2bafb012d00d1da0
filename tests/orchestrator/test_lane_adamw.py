"""The optimiser of lanes: torch's AdamW and clipping, lane by lane."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from orchestrator.engine.lane_adamw import LaneAdamW
from orchestrator.spec import OptimSpec

SHAPES = [(5, 3), (3,), (2, 4)]


def lane(seed: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in SHAPES]


def set_gradients(tensors: list[Tensor], step: int, seed: int, size: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(1000 * seed + step)
    for tensor in tensors:
        tensor.grad = size * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)


def values(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def states(optimizer: LaneAdamW, tensors: list[Tensor]) -> list[Tensor]:
    return [value.clone() for tensor in tensors for value in optimizer.state[tensor].values()]


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize(("clip", "size"), [(None, 1.0), (1.0, 1.0), (1.0, 1e-3), (0.5, 100.0)])
def test_one_lane_is_torchs_adamw_with_torchs_clipping(decay: float, clip: float | None, size: float) -> None:
    """Float64, so what is left is the order of operations: 1e-12 is a thousand roundings."""
    optim = OptimSpec(weight_decay=decay, clip=clip, betas=[0.8, 0.95], eps=1e-6)
    ours, theirs = lane(0), lane(0)
    optimizer = LaneAdamW([ours], optim, sharded=False)
    reference = torch.optim.AdamW(theirs, lr=1.0, betas=(0.8, 0.95), eps=1e-6, weight_decay=decay)
    for step in range(20):
        rate = 1e-2 / (step + 1)
        set_gradients(ours, step, 0, size)
        set_gradients(theirs, step, 0, size)
        optimizer.param_groups[0]["lr"] = reference.param_groups[0]["lr"] = rate
        norm = clip_grad_norm_(theirs, clip if clip is not None else float("inf"))
        reference.step()
        optimizer.step()
        assert optimizer.param_groups[0]["norm"] == pytest.approx(float(norm), rel=1e-12)
        for one, other in zip(ours, theirs, strict=True):
            assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)
    assert not same(values(ours), values(lane(0)))


@pytest.mark.parametrize("size", [1.0, 1e3])
def test_a_lane_among_others_is_bit_for_bit_the_lane_alone(size: float) -> None:
    optim = OptimSpec(clip=1.0)
    alone, together, neighbour = lane(0), lane(0), lane(1)
    single, double = LaneAdamW([alone], optim, sharded=False), LaneAdamW([together, neighbour], optim, sharded=False)
    for step in range(5):
        set_gradients(alone, step, 0)
        set_gradients(together, step, 0)
        set_gradients(neighbour, step, 1, size)
        single.param_groups[0]["lr"] = double.param_groups[0]["lr"] = 1e-2
        double.param_groups[1]["lr"] = 3e-2
        single.step()
        double.step()
    assert same(values(alone), values(together))


def test_a_lane_that_has_left_is_not_touched() -> None:
    staying, left = lane(0), lane(1)
    optimizer = LaneAdamW([staying, left], OptimSpec(weight_decay=0.1), sharded=False)
    before = values(left)
    for step in range(3):
        set_gradients(staying, step, 0)
        set_gradients(left, step, 1)
        optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = 1e-2, None
        optimizer.step()
    assert same(values(left), before)
    assert states(optimizer, left) == []
    assert not same(values(staying), values(lane(0)))
    assert {float(optimizer.state[tensor]["step"]) for tensor in staying} == {3.0}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("first", [True, False])
def test_a_gradient_that_is_not_finite_changes_nothing_and_no_neighbour(bad: float, first: bool) -> None:
    broken, neighbour, reference = lane(0), lane(1), lane(1)
    optim = OptimSpec(weight_decay=0.1)
    optimizer = LaneAdamW([broken, neighbour], optim, sharded=False)
    single = LaneAdamW([reference], optim, sharded=False)
    for group in (*optimizer.param_groups, *single.param_groups):
        group["lr"] = 1e-2
    for step in range(0 if first else 2):
        set_gradients(broken, step, 0)
        set_gradients(neighbour, step, 1)
        set_gradients(reference, step, 1)
        optimizer.step()
        single.step()
    before, states_before = values(broken), states(optimizer, broken)
    set_gradients(broken, 5, 0)
    assert broken[1].grad is not None
    broken[1].grad[0] = bad
    set_gradients(neighbour, 5, 1)
    set_gradients(reference, 5, 1)
    optimizer.step()
    single.step()
    norm = optimizer.param_groups[0]["norm"]
    assert not math.isfinite(norm)
    assert same(values(broken), before)
    assert same(states(optimizer, broken), states_before)
    assert same(values(neighbour), values(reference))


def test_a_lane_without_gradients_waits() -> None:
    tensors = lane(0)
    optimizer = LaneAdamW([tensors], OptimSpec(), sharded=False)
    optimizer.param_groups[0]["lr"] = 1e-2
    optimizer.step()
    assert same(values(tensors), values(lane(0)))
    assert states(optimizer, tensors) == []


def test_half_precision_gradients_do_not_overflow_their_norm() -> None:
    tensor = torch.zeros(4, dtype=torch.float16, requires_grad=True)
    tensor.grad = torch.full((4,), 1000.0, dtype=torch.float16)
    optimizer = LaneAdamW([[tensor]], OptimSpec(), sharded=False)
    optimizer.param_groups[0]["lr"] = 1e-2
    optimizer.step()
    assert optimizer.param_groups[0]["norm"] == 2000.0
