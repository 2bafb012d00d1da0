"""The second path: a question scored by the model's own logits, one choice at a time, with nothing of ours between."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from orchestrator.data.tokens import Item


def own_scores(model: nn.Module, items: Sequence[Item]) -> list[list[float]]:
    """Return the log-likelihood of every choice of each item, in nats, as ``model(input_ids).logits`` has it.

    No prompt is shared, no mask is made, no kernel is chosen, and nothing is left out: this is slow, and what anybody
    gets who opens the model with transformers alone.
    """
    with torch.no_grad():
        return [
            [_score(model, ids, start) for ids, start in zip(item.choices, item.starts, strict=True)] for item in items
        ]


def _score(model: nn.Module, ids: Sequence[int], start: int) -> float:
    device = next(model.parameters()).device
    logits_TV = model(input_ids=torch.tensor([ids], device=device), use_cache=False).logits[0]
    log_likelihood_AV = logits_TV[start - 1 : -1].float().log_softmax(-1)
    wanted_A = torch.tensor(ids[start:], device=device)
    return float(log_likelihood_AV.gather(1, wanted_A[:, None]).double().sum())


def sample_of(items: Sequence[Item], count: int) -> list[int]:
    """Return the numbers of ``count`` items, or all: half are the longest, where windows show, half are spread evenly.

    The same items give the same sample.
    """
    by_length = sorted(range(len(items)), key=lambda number: -max(map(len, items[number].choices)))
    longest, rest = by_length[: count // 2], sorted(by_length[count // 2 :])
    wanted = min(count - len(longest), len(rest))
    return sorted(longest + [rest[place * len(rest) // wanted] for place in range(wanted)])
