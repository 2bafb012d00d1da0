"""The optimiser of lanes: torch's AdamW and clipping, lane by lane."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from orchestrator.recipe.sections import OptimSpec
from orchestrator.train.engine.lane_adamw import LaneAdamW

SIZE = 26


def start(seed: int) -> Tensor:
    return torch.randn(SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient(seed: int, step: int, size: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * seed + step)
    return size * torch.randn(SIZE, generator=generator, dtype=torch.float64)


class Lanes:
    """Lanes of one optimizer, each of `SIZE` numbers; ``part`` is the part of the vector of all that is here."""

    def __init__(self, *seeds: int, optim: OptimSpec, part: slice = slice(None)) -> None:
        self.seeds, self.part = seeds, part
        self.vector = torch.cat([start(seed) for seed in seeds])[part].clone().requires_grad_()
        self.optimizer = LaneAdamW(self.vector, [SIZE] * len(seeds), optim, sharded=part != slice(None))
        self.optimizer.begin = part.start or 0

    def step(self, *gradients: Tensor, rates: list[float | None], riders: Tensor | None = None) -> None:
        self.vector.grad = torch.cat(gradients)[self.part].clone()
        self.optimizer.plan(rates, torch.zeros(0) if riders is None else riders)
        self.optimizer.step()

    def lane(self, index: int) -> Tensor:
        return self.vector.detach()[index * SIZE : (index + 1) * SIZE].clone()

    def moments(self, index: int) -> list[Tensor]:
        state = self.optimizer.state[self.vector]
        span = slice(index * SIZE, (index + 1) * SIZE)
        return [state["exp_avg"][span].clone(), state["exp_avg_sq"][span].clone(), state["steps_L"][index].clone()]


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize(("clip", "size"), [(None, 1.0), (1.0, 1.0), (1.0, 1e-3), (0.5, 100.0)])
def test_one_lane_is_torchs_adamw_with_torchs_clipping(decay: float, clip: float | None, size: float) -> None:
    """Float64, so what is left is the order of operations: 1e-12 is a thousand roundings."""
    optim = OptimSpec(weight_decay=decay, clip=clip, betas=[0.8, 0.95], eps=1e-6)
    ours, theirs = Lanes(0, optim=optim), start(0).requires_grad_()
    reference = torch.optim.AdamW([theirs], lr=1.0, betas=(0.8, 0.95), eps=1e-6, weight_decay=decay)
    for step in range(20):
        rate = 1e-2 / (step + 1)
        theirs.grad = gradient(0, step, size)
        reference.param_groups[0]["lr"] = rate
        norm = clip_grad_norm_([theirs], clip if clip is not None else float("inf"))
        reference.step()
        ours.step(gradient(0, step, size), rates=[rate])
        assert ours.optimizer.norms[0] == pytest.approx(float(norm), rel=1e-12)
        assert torch.allclose(ours.lane(0), theirs, rtol=1e-12, atol=1e-12)
    assert not torch.equal(ours.lane(0), start(0))


@pytest.mark.parametrize("size", [1.0, 1e3])
def test_a_lane_among_others_is_bit_for_bit_the_lane_alone(size: float) -> None:
    optim = OptimSpec(clip=1.0)
    alone, together = Lanes(0, optim=optim), Lanes(1, 0, 2, optim=optim)
    for step in range(5):
        own = gradient(0, step)
        alone.step(own, rates=[1e-2])
        together.step(gradient(1, step, size), own, gradient(2, step, size), rates=[3e-2, 1e-2, 1e-3])
    assert torch.equal(alone.lane(0), together.lane(1))


@pytest.mark.parametrize("cuts", [[0, 40, 78], [0, 26, 52, 78], [0, 10, 20, 78]])
def test_shards_step_what_the_whole_steps(cuts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of ranks cut through lanes, and some hold no number of a lane; the exchange adds up their measures."""
    optim = OptimSpec(clip=0.5, weight_decay=0.1)
    whole = Lanes(0, 1, 2, optim=optim)
    shards = [Lanes(0, 1, 2, optim=optim, part=slice(low, high)) for low, high in pairwise(cuts)]

    def measure(shard: Lanes, gradients: list[Tensor]) -> Tensor:
        """Return what this rank would put into the exchange."""
        part = torch.cat(gradients)[shard.part]
        seen: list[Tensor] = []
        monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: seen.append(tensor.clone()))
        shard.optimizer.ranks = len(shards)
        shard.optimizer._measure(part, shard.optimizer._spans(part.numel()))
        return seen[0]

    for step in range(4):
        gradients = [gradient(seed, step, size) for seed, size in ((0, 1.0), (1, 1e-3), (2, 50.0))]
        riders = torch.tensor([0.5, 2.0])
        whole.step(*gradients, rates=[1e-2, None, 1e-3], riders=len(shards) * riders)
        for shard in shards:
            shard.optimizer.plan([1e-2, None, 1e-3], riders)
        sums = [measure(shard, gradients) for shard in shards]
        total = torch.stack(sums).sum(0)
        monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor, total=total: tensor.copy_(total))
        for shard in shards:
            shard.step(*gradients, rates=[1e-2, None, 1e-3], riders=riders)
            assert shard.optimizer.norms == pytest.approx(whole.optimizer.norms, rel=1e-12)
            assert shard.optimizer.totals == pytest.approx(whole.optimizer.totals, rel=1e-12)
    joined = torch.cat([shard.vector.detach() for shard in shards])
    torch.testing.assert_close(joined, whole.vector.detach(), rtol=1e-12, atol=1e-12)


def test_a_lane_that_has_left_is_not_touched() -> None:
    lanes = Lanes(0, 1, optim=OptimSpec(weight_decay=0.1))
    for step in range(3):
        lanes.step(gradient(0, step), gradient(1, step), rates=[1e-2, None])
    assert torch.equal(lanes.lane(1), start(1))
    assert not any(value.any() for value in lanes.moments(1))
    assert not torch.equal(lanes.lane(0), start(0))
    assert lanes.moments(0)[2] == 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("first", [True, False])
def test_a_gradient_that_is_not_finite_changes_nothing_and_no_neighbour(bad: float, first: bool) -> None:
    optim = OptimSpec(weight_decay=0.1)
    lanes, single = Lanes(0, 1, optim=optim), Lanes(1, optim=optim)
    for step in range(0 if first else 2):
        lanes.step(gradient(0, step), gradient(1, step), rates=[1e-2, 1e-2])
        single.step(gradient(1, step), rates=[1e-2])
    before = lanes.lane(0)
    moments = [] if first else lanes.moments(0)
    broken = gradient(0, 5)
    broken[SIZE // 2] = bad
    lanes.step(broken, gradient(1, 5), rates=[1e-2, 1e-2])
    single.step(gradient(1, 5), rates=[1e-2])
    assert not math.isfinite(lanes.optimizer.norms[0])
    assert torch.equal(lanes.lane(0), before)
    assert all(torch.equal(one, other) for one, other in zip(moments, lanes.moments(0), strict=not first))
    assert torch.equal(lanes.lane(1), single.lane(0))


def test_norms_of_long_float32_lanes_are_exact_and_do_not_overflow() -> None:
    """A sum of squares in float32 is off by 1e-3 at twenty million numbers, and infinite at numbers of 1e20."""
    for size, scale in ((3_000_000, 1.0), (4, 1e25)):
        vector = torch.zeros(size, requires_grad=True)
        vector.grad = scale * torch.randn(size, generator=torch.Generator().manual_seed(0))
        wanted = float(vector.grad.double().norm())
        optimizer = LaneAdamW(vector, [size], OptimSpec(clip=None))
        optimizer.plan([1e-2], torch.zeros(0))
        optimizer.step()
        assert optimizer.norms[0] == pytest.approx(wanted, rel=1e-9)
