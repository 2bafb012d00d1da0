"""The log-likelihood of every choice of every question, for all lanes of a pack at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from d2lora import held_factors, lane_rows
from orchestrator.data.tokens import Item
from orchestrator.model.evaluating import evaluating
from orchestrator.model.token_batch import batch_choices, batch_items, shared_length
from orchestrator.train.engine.engine import Scorer
from orchestrator.train.ties import best_choice

TOKEN_BUDGET = 8192
"""The tokens of a scoring batch over all lanes: enough to keep two cores busy, few enough for their memory."""


@dataclass(frozen=True)
class Scored:
    """The scores of one item: the log-likelihood of each choice, in nats, and the predicted choices.

    ``predicted`` is the most likely choice, ``predicted_norm`` the choice with the largest log-likelihood per
    character, ``answer`` the right choice. ``tied`` is the number of choices that share the best log-likelihood.
    """

    scores: tuple[float, ...]
    predicted: int
    predicted_norm: int
    answer: int
    tied: int = 1


ScoringBatch = dict[int, list[tuple[int, Item]]]
"""The questions of one pass: for each lane the items, each with its number in the lane's list of items."""


def score_items(
    engine: Scorer, items: Mapping[int, Sequence[Item]], lanes: int, share: bool = True
) -> dict[int, list[Scored]]:
    """Return the scores of each lane's items, in order, on every rank; ``items[lane]`` are the lane's questions.

    ``lanes`` is the number of lanes of the model; 0 for a model without adapters, whose questions are ``items[0]``.
    With ``share`` the choices of a question share their prompt in one row. Without, each choice is a row of its own,
    for models that take no mask. Ranks take batches in turn. All ranks compute equally many batches, the last one
    twice if need be, because the ranks of ZeRO-3 must run each layer together.
    """
    scores: dict[int, dict[int, list[float]]] = {lane: {} for lane in items}
    batches = list(_batches(items, share))
    # Holding factors reads a weight while other layers run. At stage 3 a weight is whole only while its own layer runs.
    held = nullcontext() if engine.scatters else held_factors(engine.model)
    with torch.no_grad(), evaluating(engine.model), held:
        for begin in range(0, len(batches), engine.world):
            batch = batches[min(begin + engine.rank, len(batches) - 1)]
            for lane, index, values in _score(engine, batch, lanes, share):
                scores[lane][index] = values
    for of_rank in engine.gather(scores):
        assert isinstance(of_rank, dict)  # noqa: S101 - for the type checker: each rank gave its ``scores``
        for lane, values_of_item in of_rank.items():
            scores[lane].update(values_of_item)
    return {
        lane: [_scored(item, scores[lane][index]) for index, item in enumerate(each)] for lane, each in items.items()
    }


def accuracy(scored: Sequence[Scored]) -> float:
    """Return the share of items whose most likely choice is right."""
    return sum(item.predicted == item.answer for item in scored) / len(scored)


def accuracy_norm(scored: Sequence[Scored]) -> float:
    """Return the share of items whose choice with the largest log-likelihood per character is right."""
    return sum(item.predicted_norm == item.answer for item in scored) / len(scored)


def count_ties(scored: Sequence[Scored]) -> int:
    """Return the number of items in which several choices have exactly the best score."""
    return sum(item.tied > 1 for item in scored)


def mean_loss(scored: Sequence[Scored]) -> float:
    """Return the mean negative log-likelihood of the right choice, in nats per item."""
    return -sum(item.scores[item.answer] for item in scored) / len(scored)


def _batches(items: Mapping[int, Sequence[Item]], share: bool) -> Iterator[ScoringBatch]:
    """Yield batches of at most `TOKEN_BUDGET` tokens, longest items first.

    A batch has the same number of items of every lane; a lane with fewer items left gives all of them.
    """
    left = {
        lane: sorted(((_tokens(item, share), index, item) for index, item in enumerate(each)), key=lambda row: -row[0])
        for lane, each in items.items()
    }
    while any(left.values()):
        unfinished = [lane for lane, each in left.items() if each]
        longest = max(left[lane][0][0] for lane in unfinished)
        count = max(1, TOKEN_BUDGET // (longest * len(unfinished)))
        yield {lane: [(index, item) for _, index, item in left[lane][:count]] for lane in unfinished}
        for lane in unfinished:
            left[lane] = left[lane][count:]


def _tokens(item: Item, share: bool) -> int:
    return shared_length(item) if share else sum(map(len, item.choices))


def _score(engine: Scorer, batch: ScoringBatch, lanes: int, share: bool) -> Iterator[tuple[int, int, list[float]]]:
    """Yield, per item: the lane, the item's number, and the log-likelihood of each choice, summed over its tokens."""
    questions = [(lane, index, item) for lane in sorted(batch) for index, item in batch[lane]]
    items = [item for _, _, item in questions]
    token_batch = batch_items(items) if share else batch_choices(items)
    rows = {lane: len(each) if share else sum(len(item.choices) for _, item in each) for lane, each in batch.items()}
    counts, lengths = [rows.get(lane, 0) for lane in range(lanes)], [token_batch.ids_BT.shape[1]] * lanes
    with lane_rows(engine.model, counts, lengths=lengths) if lanes else nullcontext():
        logits_AV = engine.logits(token_batch)
    wanted_A, owner_A = token_batch.wanted_A.to(engine.device), token_batch.owner_A.to(engine.device)
    chosen_A = logits_AV.gather(1, wanted_A[:, None])[:, 0] - logits_AV.logsumexp(1)
    answers = sum(len(item.choices) for item in items)
    sums = iter(chosen_A.new_zeros(answers).index_add_(0, owner_A, chosen_A).tolist())
    for lane, index, item in questions:
        yield lane, index, _same_for_twins(item, [next(sums) for _ in item.choices])


def _same_for_twins(item: Item, scores: Sequence[float]) -> list[float]:
    """Return the scores; choices with identical tokens (twins) all get the score of the first twin.

    Rounding depends on the position in a row, so twins could differ in the last bit, and a tie would not be seen.
    """
    first = dict(zip(reversed(item.choices), reversed(scores), strict=True))
    return [first[ids] for ids in item.choices]


def _scored(item: Item, scores: Sequence[float]) -> Scored:
    norm = [score / max(1, length) for score, length in zip(scores, item.lengths, strict=True)]
    predicted, tied = best_choice(scores, item)
    return Scored(tuple(scores), predicted, best_choice(norm, item)[0], item.answer, tied)


def prediction_rows(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """Return the rows of a predictions file, one per item; a row has the key ``tied`` only if a tie decided."""
    return [
        {"index": index, "answer": item.answer, "predicted": item.predicted, "scores": list(item.scores)}
        | ({"tied": item.tied} if item.tied > 1 else {})
        for index, item in enumerate(scored)
    ]
