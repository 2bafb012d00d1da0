"""The passes of one optimizer step on one rank: global batches, cut into this rank's rows, cut into token batches.

global batch     `GlobalBatch`: the rows that one lane learns from in this step, over all ranks
rows of a rank   `rows_of_rank`: the part of a global batch that one rank computes in one micro step
passes           `lanes_of_passes`: which lanes go through the model together
token batch      `StepPass.token_batch`: the rows of one pass as tensors
losses           `orchestrator.train.accumulate`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from orchestrator.model.shortcuts import takes_blocks
from orchestrator.model.token_batch import AnswerRow, TokenBatch, batch_rows
from orchestrator.train.blocks import padded_lengths
from orchestrator.train.engine.engine import Engine
from orchestrator.train.passes import split_into_passes


class GlobalBatch(NamedTuple):
    """The rows that a lane learns from in one step, over all ranks, and how many answer tokens these rows have."""

    rows: Sequence[AnswerRow]
    answer_tokens: int

    @classmethod
    def of(cls, rows: Sequence[AnswerRow]) -> GlobalBatch:
        """Return the global batch of these rows."""
        return cls(rows, sum(len(ids) - start for ids, start in rows))

    @property
    def tokens(self) -> int:
        """The number of tokens of all rows, prompts included."""
        return sum(len(ids) for ids, _ in self.rows)

    @property
    def longest(self) -> int:
        """The number of tokens of the longest row."""
        return max(len(ids) for ids, _ in self.rows)


@dataclass(frozen=True)
class StepCut:
    """How a step is cut: over ``world`` ranks, into micro steps, and into passes of at most ``most`` tokens.

    In each of ``micro_steps`` micro steps a rank takes the next ``micro_batch`` rows of every lane. With ``in_blocks``
    the rows of a pass may be padded to several lengths.
    """

    rank: int
    world: int
    micro_batch: int
    micro_steps: int
    most: int
    in_blocks: bool

    @classmethod
    def of(cls, engine: Engine, global_batch: int, micro_batch: int, most: int) -> StepCut:
        """Return how the steps of this engine's rank are cut."""
        micro_steps = global_batch // (micro_batch * engine.world)
        return cls(engine.rank, engine.world, micro_batch, micro_steps, most, takes_blocks(engine.model))


@dataclass(frozen=True)
class StepPass:
    """One pass of one rank.

    token_batch  the rows of all lanes of the pass as tensors, lane after lane
    counts       the number of rows of each lane; 0 for a lane that is not in the pass
    lengths      the length that each lane's rows are padded to
    row_numbers  the number of each row within the global batch of its lane
    lane_A       the lane of each answer token
    weight_L     the factor of each lane's summed loss in the total: ranks / answer tokens of its global batch. (Engines
                 average gradients over ranks, so the factor ``ranks`` makes the average a sum.)
    counted_L    1 for a lane whose rows count, 0 for a lane without rows, which runs one row with weight 0
    tokens       the number of tokens of the rows, padding excluded
    """

    token_batch: TokenBatch
    counts: list[int]
    lengths: list[int]
    row_numbers: list[int]
    lane_A: Tensor
    weight_L: Tensor
    counted_L: Tensor
    tokens: int


def passes_of_step(batches: Mapping[int, GlobalBatch], lanes: int, cut: StepCut) -> list[StepPass]:
    """Return this rank's passes of one step; ``batches[l]`` is the global batch of lane l, ``lanes`` the pack's lanes.

    Which lanes a pass holds is computed from whole global batches, so every rank gets equally many passes of the same
    lanes. Ranks reduce gradients together, so every rank must run every lane of a pass: a rank that a short global
    batch leaves without rows of a lane runs the lane's first row with weight 0.
    """
    passes = []
    for micro_step in range(cut.micro_steps):
        first_taken = micro_step * cut.world * cut.micro_batch  # the first row that rank 0 takes
        for group in lanes_of_passes(batches, cut):
            if any(len(batches[lane].rows) > first_taken for lane in group):
                numbers = {lane: rows_of_rank(len(batches[lane].rows), micro_step, cut) for lane in group}
                passes.append(_step_pass(batches, numbers, lanes, cut))
    return passes


def lanes_of_passes(batches: Mapping[int, GlobalBatch], cut: StepCut) -> list[list[int]]:
    """Return the lanes of each pass of a micro step."""
    tokens = {lane: min(cut.micro_batch, len(batch.rows)) * batch.longest for lane, batch in batches.items()}
    return split_into_passes(tokens, cut.most)


def rows_of_rank(rows: int, micro_step: int, cut: StepCut) -> range:
    """Return the numbers of the rows, of a global batch of ``rows`` rows, that the rank takes in a micro step.

    There are ``micro_batch`` numbers; fewer, or none, at the end of a short batch.
    """
    first = (micro_step * cut.world + cut.rank) * cut.micro_batch
    return range(rows)[first : first + cut.micro_batch]


def _step_pass(
    batches: Mapping[int, GlobalBatch], taken: Mapping[int, Sequence[int]], lanes: int, cut: StepCut
) -> StepPass:
    """Return the pass of the rows numbered ``taken[l]`` of each lane l; with several ranks, row 0 for an empty lane."""
    standing_in = [0] if cut.world > 1 else []
    numbers = {lane: list(taken[lane]) or standing_in for lane in taken}
    rows = {lane: [batches[lane].rows[number] for number in numbers[lane]] for lane in taken}
    counts = [len(rows.get(lane, ())) for lane in range(lanes)]
    longest = [max((len(ids) for ids, _ in rows.get(lane, ())), default=0) for lane in range(lanes)]
    lengths = padded_lengths(list(zip(counts, longest, strict=True))) if cut.in_blocks else [max(longest)] * lanes
    lane_of_row = [lane for lane in rows for _ in rows[lane]]
    rows_of_pass = [row for lane in rows for row in rows[lane]]
    token_batch = batch_rows(rows_of_pass, [lengths[lane] for lane in lane_of_row])
    counted = [float(bool(taken.get(lane))) for lane in range(lanes)]
    answers = [batches[lane].answer_tokens if lane in batches else 1 for lane in range(lanes)]
    weights = [cut.world * is_counted / tokens for is_counted, tokens in zip(counted, answers, strict=True)]
    return StepPass(
        token_batch=token_batch,
        counts=counts,
        lengths=lengths,
        row_numbers=[number for lane in numbers for number in numbers[lane]],
        lane_A=torch.tensor(lane_of_row)[token_batch.owner_A],
        weight_L=torch.tensor(weights, dtype=torch.float64),
        counted_L=torch.tensor(counted, dtype=torch.float64),
        tokens=sum(len(ids) for ids, _ in rows_of_pass),
    )
