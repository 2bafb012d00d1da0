"""The passes of one optimizer step: which rows of which lanes go through the model together, built and sent at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from orchestrator.data.batches import share
from orchestrator.model.token_batch import AnswerRow, TokenBatch, batch_rows
from orchestrator.train.passes import padded_lengths, split_into_passes


class LaneBatch(NamedTuple):
    """The global batch of a lane at one step, and how many answer tokens it has."""

    rows: Sequence[AnswerRow]
    answers: int

    @classmethod
    def of(cls, rows: Sequence[AnswerRow]) -> LaneBatch:
        """Return the batch of these rows."""
        return cls(rows, sum(len(ids) - start for ids, start in rows))


@dataclass(frozen=True)
class Layout:
    """How a step is cut: over ``world`` ranks, into micro batches, into passes of at most ``most`` tokens."""

    rank: int
    world: int
    micro_batch: int
    micro_steps: int
    most: int
    in_blocks: bool


@dataclass(frozen=True)
class StepPass:
    """One pass: lane l has the next ``counts[l]`` rows, padded to ``lengths[l]``.

    ``places`` are the rows' places in the global batches of their lanes; ``lane_A`` names each answer token's lane.
    ``weight_L`` is what a lane's summed loss counts in the total: 1 over the answer tokens of its global batch, times
    the ranks, whose gradients are averaged. ``counted_L`` is 0 for a lane whose row only stands in, else 1.
    """

    packed: TokenBatch
    counts: list[int]
    lengths: list[int]
    places: list[int]
    lane_A: Tensor
    weight_L: Tensor
    counted_L: Tensor
    tokens: int


def passes_of_step(batches: Mapping[int, LaneBatch], lanes: int, layout: Layout) -> list[StepPass]:
    """Return this rank's passes of a step in which the lanes of ``batches``, of ``lanes`` in all, take part.

    Every rank has the same passes, for only whole batches decide, and every rank computes all lanes of a pass, for
    ranks reduce gradients together: where a batch is short and leaves a rank none of its rows, the rank takes the
    first one and counts it nought.
    """
    passes = []
    for micro in range(layout.micro_steps):
        begin = micro * layout.world * layout.micro_batch  # where the first rank's share begins: it has rows if any has
        for members in _members(batches, layout):
            if any(len(batches[lane].rows) > begin for lane in members):
                shares = {lane: _share(len(batches[lane].rows), micro, layout) for lane in members}
                passes.append(_step_pass(batches, shares, lanes, layout))
    return passes


def sent(passes: Sequence[StepPass], device: torch.device) -> list[StepPass]:
    """Return the passes with their tensors on ``device``: one copy of all indices and one of all weights."""
    if device.type == "cpu":
        return list(passes)
    indices = iter(_moved([tensor for one in passes for tensor in _indices(one)], device))
    weights = iter(_moved([tensor for one in passes for tensor in (one.weight_L, one.counted_L)], device))
    there = []
    for one in passes:
        whole = one.packed
        packed = replace(whole, ids_BT=next(indices), where_A=next(indices), wanted_A=next(indices))
        lane_A = next(indices)
        if whole.positions_BT is not None:
            packed = replace(packed, positions_BT=next(indices))
        there.append(replace(one, packed=packed, lane_A=lane_A, weight_L=next(weights), counted_L=next(weights)))
    return there


def _indices(one: StepPass) -> list[Tensor]:
    packed = one.packed
    optional = [] if packed.positions_BT is None else [packed.positions_BT]
    return [packed.ids_BT, packed.where_A, packed.wanted_A, one.lane_A, *optional]


def _moved(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return tensors of one type on ``device``, as views on one copy; a GPU copies while the host goes on."""
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    if device.type == "cuda":
        flat = flat.pin_memory()
    parts = torch.split(flat.to(device, non_blocking=True), [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def _members(batches: Mapping[int, LaneBatch], layout: Layout) -> list[list[int]]:
    """Return which lanes go through the model together."""
    tokens = {
        lane: min(layout.micro_batch, len(batch.rows)) * max(len(ids) for ids, _ in batch.rows)
        for lane, batch in batches.items()
    }
    return split_into_passes(tokens, layout.most)


def _share(rows: int, micro: int, layout: Layout) -> Sequence[int]:
    """Return the places of the rows of a global batch that this rank takes in a micro step."""
    return share(range(rows), micro_batch=layout.micro_batch, micro=micro, rank=layout.rank, world=layout.world)


def _step_pass(
    batches: Mapping[int, LaneBatch], shares: Mapping[int, Sequence[int]], lanes: int, layout: Layout
) -> StepPass:
    """Return the pass of these places of the lanes' batches; a lane without any stands in with its first row."""
    standing_in = [0] if layout.world > 1 else []
    places = {lane: list(shares[lane]) or standing_in for lane in shares}
    rows = {lane: [batches[lane].rows[place] for place in own] for lane, own in places.items()}
    counts = [len(rows.get(lane, ())) for lane in range(lanes)]
    lengths = _lengths(
        [max((len(ids) for ids, _ in rows.get(lane, ())), default=0) for lane in range(lanes)], counts, layout
    )
    packed = batch_rows(
        [row for own in rows.values() for row in own], [lengths[lane] for lane, own in rows.items() for _ in own]
    )
    counted = [float(bool(shares.get(lane))) for lane in range(lanes)]
    answers = [batches[lane].answers if lane in batches else 1 for lane in range(lanes)]
    lane_B = torch.tensor([lane for lane, own in rows.items() for _ in own])
    return StepPass(
        packed=packed,
        counts=counts,
        lengths=lengths,
        places=[place for own in places.values() for place in own],
        lane_A=lane_B[packed.owner_A],
        weight_L=torch.tensor(
            [layout.world * one / of for one, of in zip(counted, answers, strict=True)], dtype=torch.float64
        ),
        counted_L=torch.tensor(counted, dtype=torch.float64),
        tokens=sum(len(ids) for own in rows.values() for ids, _ in own),
    )


def _lengths(longest: Sequence[int], counts: Sequence[int], layout: Layout) -> list[int]:
    """Return what each lane's rows are padded to: all to the longest, unless rows may lie in blocks."""
    if layout.in_blocks:
        return padded_lengths(list(zip(counts, longest, strict=True)))
    return [max(longest)] * len(longest)
