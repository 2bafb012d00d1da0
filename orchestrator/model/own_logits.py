"""The second way to score a question: the model's own logits of one choice at a time, without any code of ours.

`orchestrator.train.score` is the first way. A champion is scored in both (ADR 20).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from orchestrator.data.tokens import Item


def own_scores(model: nn.Module, items: Sequence[Item]) -> list[list[float]]:
    """Return the log-likelihood of every choice of each item, in nats, from ``model(input_ids).logits``.

    Each choice is a row of its own, without a mask, with the model's own attention and head over the whole row. This is
    slow, but gives the numbers that anybody gets who opens the model with transformers alone.
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
    """Return the numbers of ``count`` items, in order; of all items if there are fewer.

    Half are the longest items, on which an attention window has its effect. The other half are spread evenly over the
    rest. The same items give the same sample.
    """
    by_length = sorted(range(len(items)), key=lambda number: -max(map(len, items[number].choices)))
    longest, rest = by_length[: count // 2], sorted(by_length[count // 2 :])
    wanted = min(count - len(longest), len(rest))
    return sorted(longest + [rest[index * len(rest) // wanted] for index in range(wanted)])
