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

TOKEN_BUDGET = 8192  # tokens of a scoring batch over all lanes: enough to fill two cores, little enough to fit


@dataclass(frozen=True)
class Scored:
    """One item: the log-likelihood of each choice, in nats, and what that predicts; ``tied`` choices share the best."""

    scores: tuple[float, ...]
    predicted: int
    predicted_norm: int
    answer: int
    tied: int = 1


Batch = dict[int, list[tuple[int, Item]]]  # lane -> (number of the item, the item)


def score_items(
    engine: Scorer, items: Mapping[int, Sequence[Item]], lanes: int, share: bool = True
) -> dict[int, list[Scored]]:
    """Return the scores of each lane's items, in order, on every rank; ``items[lane]`` are that lane's questions.

    ``lanes`` is how many the model has; 0 for a plain model, whose questions are ``items[0]``. With ``share`` the
    choices of a question share their prompt; without, each is a row of its own, for models that take no mask.
    Ranks take batches in turn, all of them as many, because ZeRO-3's ranks must compute in step.
    """
    found: dict[int, dict[int, list[float]]] = {lane: {} for lane in items}
    batches = list(_batches(items, share))
    # At stage 3 a layer's weight is whole only while the layer runs, and must not be asked for from another one.
    held = nullcontext() if engine.scatters else held_factors(engine.model)
    with torch.no_grad(), evaluating(engine.model), held:
        for begin in range(0, len(batches), engine.world):
            batch = batches[min(begin + engine.rank, len(batches) - 1)]
            for lane, index, values in _score(engine, batch, lanes, share):
                found[lane][index] = values
    for other in engine.gather(found):
        assert isinstance(other, dict)  # noqa: S101 - what each rank put in
        for lane, scores in other.items():
            found[lane].update(scores)
    return {
        lane: [_scored(item, found[lane][index]) for index, item in enumerate(each)] for lane, each in items.items()
    }


def accuracy(scored: Sequence[Scored]) -> float:
    """Return the share of items whose most likely choice is right."""
    return sum(one.predicted == one.answer for one in scored) / len(scored)


def accuracy_norm(scored: Sequence[Scored]) -> float:
    """Return the share of items whose most likely choice a character is right."""
    return sum(one.predicted_norm == one.answer for one in scored) / len(scored)


def count_ties(scored: Sequence[Scored]) -> int:
    """Return the number of items of which several choices have exactly the best score."""
    return sum(one.tied > 1 for one in scored)


def mean_loss(scored: Sequence[Scored]) -> float:
    """Return the mean negative log-likelihood of the right choice, in nats an item."""
    return -sum(one.scores[one.answer] for one in scored) / len(scored)


def _batches(items: Mapping[int, Sequence[Item]], share: bool) -> Iterator[Batch]:
    """Yield batches of similar length within the token budget, each with questions of every lane that has some left."""
    left = {
        lane: sorted(((_tokens(item, share), index, item) for index, item in enumerate(each)), key=lambda one: -one[0])
        for lane, each in items.items()
    }
    while any(left.values()):
        living = [lane for lane, each in left.items() if each]
        longest = max(left[lane][0][0] for lane in living)
        count = max(1, TOKEN_BUDGET // (longest * len(living)))
        yield {lane: [(index, item) for _, index, item in left[lane][:count]] for lane in living}
        for lane in living:
            left[lane] = left[lane][count:]


def _tokens(item: Item, share: bool) -> int:
    return shared_length(item) if share else sum(map(len, item.choices))


def _score(engine: Scorer, batch: Batch, lanes: int, share: bool) -> Iterator[tuple[int, int, list[float]]]:
    """Yield lane, item and the summed log-likelihood of each of its choices."""
    questions = [(lane, index, item) for lane in sorted(batch) for index, item in batch[lane]]
    items = [item for _, _, item in questions]
    packed = batch_items(items) if share else batch_choices(items)
    rows = {lane: len(each) if share else sum(len(item.choices) for _, item in each) for lane, each in batch.items()}
    counts, lengths = [rows.get(lane, 0) for lane in range(lanes)], [packed.ids_BT.shape[1]] * lanes
    with lane_rows(engine.model, counts, lengths=lengths) if lanes else nullcontext():
        logits_AV = engine.logits(packed)
    wanted_A, owner_A = packed.wanted_A.to(engine.device), packed.owner_A.to(engine.device)
    chosen_A = logits_AV.gather(1, wanted_A[:, None])[:, 0] - logits_AV.logsumexp(1)
    answers = sum(len(item.choices) for item in items)
    sums = iter(chosen_A.new_zeros(answers).index_add_(0, owner_A, chosen_A).tolist())
    for lane, index, item in questions:
        yield lane, index, _of_distinct(item, [next(sums) for _ in item.choices])


def _of_distinct(item: Item, scores: Sequence[float]) -> list[float]:
    """Return the scores with one for all choices of the same tokens: elsewhere in a row they are rounded otherwise."""
    first = dict(zip(reversed(item.choices), reversed(scores), strict=True))
    return [first[ids] for ids in item.choices]


def _scored(item: Item, scores: Sequence[float]) -> Scored:
    norm = [score / max(1, length) for score, length in zip(scores, item.lengths, strict=True)]
    predicted, tied = best_choice(scores, item)
    return Scored(tuple(scores), predicted, best_choice(norm, item)[0], item.answer, tied)


def prediction_rows(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """Return the rows of a predictions file: one an evaluation item; ``tied`` is there where a tie decided."""
    return [
        {"index": index, "answer": one.answer, "predicted": one.predicted, "scores": list(one.scores)}
        | ({"tied": one.tied} if one.tied > 1 else {})
        for index, one in enumerate(scored)
    ]
