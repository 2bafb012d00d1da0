"""The log-likelihood of every choice of every question, for all lanes of a pack at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from d2lora import lane_rows
from orchestrator.engine.engine import Scorer
from orchestrator.tokens import Item

TOKEN_BUDGET = 8192  # tokens of a scoring batch over all lanes: enough to fill two cores, little enough to fit


@dataclass(frozen=True)
class Scored:
    """One item: the log-likelihood of each choice, in nats, and what that predicts."""

    scores: tuple[float, ...]
    predicted: int
    predicted_norm: int
    answer: int


@dataclass(frozen=True)
class _Row:
    item: int
    choice: int
    ids: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Packed:
    """Rows of several lanes, padded on the right: what one forward pass needs.

    ``where_A`` are flat positions in ``ids_BT`` whose logits predict ``wanted_A``; ``row_A`` the row of each.
    """

    ids_BT: Tensor
    where_A: Tensor
    wanted_A: Tensor
    row_A: Tensor


def pack_rows(rows: Sequence[tuple[Sequence[int], int]]) -> Packed:
    """Return (ids, start of the answer) rows as one batch; the logits before a token predict it."""
    longest = max(len(ids) for ids, _ in rows)
    ids_BT = torch.zeros(len(rows), longest, dtype=torch.long)
    where: list[int] = []
    wanted: list[int] = []
    owner: list[int] = []
    for row, (ids, start) in enumerate(rows):
        ids_BT[row, : len(ids)] = torch.tensor(ids)
        where += range(row * longest + start - 1, row * longest + len(ids) - 1)
        wanted += ids[start:]
        owner += [row] * (len(ids) - start)
    return Packed(ids_BT, torch.tensor(where), torch.tensor(wanted), torch.tensor(owner))


def score_items(engine: Scorer, items: Mapping[int, Sequence[Item]], lanes: int) -> dict[int, list[Scored]]:
    """Return the scores of each lane's items, in order, on every rank; ``items[lane]`` are that lane's questions.

    ``lanes`` is how many the model has; 0 for a plain model, whose questions are ``items[0]``.
    Ranks take batches in turn, all of them as many, because ZeRO-3's ranks must compute in step.
    """
    found: dict[int, dict[tuple[int, int], float]] = {lane: {} for lane in items}
    batches = list(_batches({lane: list(_rows(each)) for lane, each in items.items()}))
    training = engine.model.training
    engine.model.eval()
    with torch.no_grad():
        for begin in range(0, len(batches), engine.world):
            batch = batches[min(begin + engine.rank, len(batches) - 1)]
            for lane, row, value in _score(engine, batch, lanes):
                found[lane][row.item, row.choice] = value
    engine.model.train(training)
    for other in engine.gather(found):
        assert isinstance(other, dict)  # noqa: S101 - what each rank put in
        for lane, values in other.items():
            found[lane].update(values)
    return {
        lane: [_scored(item, found[lane], index) for index, item in enumerate(each)] for lane, each in items.items()
    }


def accuracy(scored: Sequence[Scored]) -> float:
    """Return the share of items whose most likely choice is right."""
    return sum(one.predicted == one.answer for one in scored) / len(scored)


def accuracy_norm(scored: Sequence[Scored]) -> float:
    """Return the share of items whose most likely choice a character is right."""
    return sum(one.predicted_norm == one.answer for one in scored) / len(scored)


def mean_loss(scored: Sequence[Scored]) -> float:
    """Return the mean negative log-likelihood of the right choice, in nats an item."""
    return -sum(one.scores[one.answer] for one in scored) / len(scored)


def _rows(items: Sequence[Item]) -> Iterator[_Row]:
    for index, item in enumerate(items):
        for choice, (ids, start) in enumerate(zip(item.choices, item.starts, strict=True)):
            yield _Row(index, choice, tuple(ids), start)


def _batches(rows: Mapping[int, list[_Row]]) -> Iterator[dict[int, list[_Row]]]:
    """Yield batches of similar length within the token budget, each with rows of every lane that has rows left."""
    left = {lane: sorted(each, key=lambda row: -len(row.ids)) for lane, each in rows.items()}
    while any(left.values()):
        living = [lane for lane, each in left.items() if each]
        longest = max(len(left[lane][0].ids) for lane in living)
        count = max(1, TOKEN_BUDGET // (longest * len(living)))
        yield {lane: left[lane][:count] for lane in living}
        for lane in living:
            left[lane] = left[lane][count:]


def _score(engine: Scorer, batch: Mapping[int, list[_Row]], lanes: int) -> Iterator[tuple[int, _Row, float]]:
    """Yield (lane, row, summed log-likelihood of the row's answer)."""
    order = sorted(batch)
    rows = [(lane, row) for lane in order for row in batch[lane]]
    packed = pack_rows([(row.ids, row.start) for _, row in rows])
    counts = [len(batch.get(lane, ())) for lane in range(lanes)]
    with lane_rows(engine.model, counts) if lanes else nullcontext():
        logits_AV = engine.logits(packed.ids_BT.to(engine.device), packed.where_A.to(engine.device))
    chosen_A = logits_AV.gather(1, packed.wanted_A.to(engine.device)[:, None])[:, 0] - logits_AV.logsumexp(1)
    sums_B = chosen_A.new_zeros(len(rows)).index_add_(0, packed.row_A.to(engine.device), chosen_A)
    for (lane, row), value in zip(rows, sums_B.tolist(), strict=True):
        yield lane, row, value


def _scored(item: Item, values: Mapping[tuple[int, int], float], index: int) -> Scored:
    scores = tuple(values[index, choice] for choice in range(len(item.choices)))
    norm = [score / max(1, length) for score, length in zip(scores, item.lengths, strict=True)]
    return Scored(scores, scores.index(max(scores)), norm.index(max(norm)), item.answer)
