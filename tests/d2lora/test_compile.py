"""torch.compile takes an adapted model as one graph, which computes what eager does and is not made anew by steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import d2lora
from tests.d2lora.layers.test_adapted import lane, shake

pytestmark = [
    # Dynamo traces through the cache of runs of lanes, which is what it should do.
    pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`:UserWarning"),
    # Dynamo itself makes the object that torch warns of, for every autograd function that it traces.
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]

PACKS = {
    "lora": [lane("lora")],
    "d2lora": [lane("d2lora")],
    "all methods": [lane("dora"), lane("d2lora", 1, norm_axis="in", readd=0), lane("lora", 2, rank=1)],
    "dropout": [lane("lora", 0, dropout=0.3), lane("d2lora", 1, tau="learned", dropout=0.1), lane("lora", 2)],
}


def model_of(pack: str, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6)).to(dtype)
    d2lora.attach_lanes(model, PACKS[pack], ["*"])
    shake(model)
    return model


def step(model: nn.Module, called: nn.Module, x: Tensor, draw: int) -> list[Tensor]:
    lanes = len(model[0].lanes)
    with d2lora.lane_rows(model, [len(x) // lanes] * lanes, draw=draw, places=list(range(len(x)))):
        y = called(x)
        y.square().sum().backward()
    gradients = [one.grad.clone() for one in model.parameters() if one.requires_grad]
    model.zero_grad()
    return [y.detach(), *gradients]


@pytest.mark.slow
@pytest.mark.parametrize("pack", PACKS)
def test_one_graph_computes_what_eager_does_in_every_step(pack: str) -> None:
    torch._dynamo.reset()
    model = model_of(pack, torch.float64)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = torch.randn(6, 3, 6, dtype=torch.float64)
    for draw in range(4):
        wanted = step(model, model, x + draw, draw)
        with torch._dynamo.config.patch(error_on_recompile=draw > 0):
            got = step(model, compiled, x + draw, draw)
        for one, other in zip(got, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.mul_(0.9)


def test_a_compiled_model_sees_a_weight_that_has_changed() -> None:
    torch._dynamo.reset()
    model = model_of("d2lora", torch.float64)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    x = torch.randn(2, 6, dtype=torch.float64)
    for _ in range(3):
        torch.testing.assert_close(compiled(x), d2lora.merge(model)(x))
        with torch.no_grad():
            model[0].weight.mul_(3)
            model[2].weight[1] = 0


def test_a_compiled_model_scores_in_half_precision_and_shares_rows_by_the_batch() -> None:
    torch._dynamo.reset()
    model = model_of("all methods", torch.bfloat16).eval()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    x = torch.randn(6, 3, 6, dtype=torch.bfloat16)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))
    with pytest.raises(ValueError, match="5 rows cannot be shared equally by 3 lanes"):
        model(x[:5])
