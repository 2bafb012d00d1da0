"""Choices of the same tokens have the same score, bit for bit, wherever they stand in a row."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import d2lora
from orchestrator.train.engine.plain import OneProcess
from orchestrator.train.score import count_ties, score_items
from tests.helpers.models.tiny_llama import TARGETS, questions, tiny_llama


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_twins_tie_exactly_in_every_lane(share: bool, dtype: torch.dtype) -> None:
    model = tiny_llama(hidden=64).to(dtype)
    lora = d2lora.get_method("lora").Config(rank=2)
    d2lora.attach(model, "lora", lora, TARGETS, lanes=3)
    with torch.no_grad():
        for lane in range(3):
            for index, value in enumerate(d2lora.adapter_parameters(model, lane).values()):
                value += 0.3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(10 * lane + index))
    items = [
        replace(item, choices=(*item.choices, item.choices[0]), starts=(*item.starts, item.starts[0]), lengths=(1,) * 4)
        for item in questions(40, seed=3)
    ]
    scored = score_items(OneProcess(model, torch.device("cpu")), dict.fromkeys(range(3), items), 3, share)
    for lane in range(3):
        assert all(one.scores[0] == one.scores[3] for one in scored[lane])
        best = sum(one.scores[0] == max(one.scores) for one in scored[lane])
        assert count_ties(scored[lane]) == best > 0
