"""Rows of questions as the tensors of one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orchestrator.data.tokens import Item

AnswerRow = tuple[Sequence[int] | NDArray[np.int32], int]
"""The ids of prompt and answer, and where the answer starts."""
Blocks = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class TokenBatch:
    """Rows padded on the right, or one row in which they follow one another.

    ``where_A`` are flat positions in ``ids_BT`` whose logits predict ``wanted_A``; ``owner_A`` numbers the answer that
    each of them belongs to. ``segments_BT`` are there where choices share a prompt: 0 is the prompt, k the k-th choice,
    -1 padding; a token sees its own segment and the prompt, as if it stood right after it. ``blocks`` are there where
    ``ids_BT`` is one row: (rows, length) of each block of rows that are padded to one length, in order; a token sees
    its own row. ``positions_BT`` are there in both cases.
    """

    ids_BT: Tensor
    where_A: Tensor
    wanted_A: Tensor
    owner_A: Tensor
    segments_BT: Tensor | None = None
    positions_BT: Tensor | None = None
    blocks: Blocks = ()

    def inputs(self, device: torch.device) -> tuple[Tensor | Blocks | None, ...]:
        """Return ids, places, segments, positions on ``device`` and blocks: what a model is called with."""
        tensors = (self.ids_BT, self.where_A, self.segments_BT, self.positions_BT)
        return (*(None if tensor is None else tensor.to(device) for tensor in tensors), self.blocks)


def batch_rows(rows: Sequence[AnswerRow], lengths: Sequence[int] | None = None) -> TokenBatch:
    """Return one row an answer, numbered in order; the logits before a token predict it.

    ``lengths`` are what the rows are padded to, by default all to the longest; where they differ, the rows follow one
    another in a single one.
    """
    lengths = lengths or [max(len(ids) for ids, _ in rows)] * len(rows)
    ids_M = torch.zeros(sum(lengths), dtype=torch.long)
    where: list[int] = []
    wanted: list[int] = []
    owner: list[int] = []
    begin = 0
    for row, ((ids, start), length) in enumerate(zip(rows, lengths, strict=True)):
        ids_M[begin : begin + len(ids)] = torch.as_tensor(ids)
        where += range(begin + start - 1, begin + len(ids) - 1)
        wanted.extend(ids[start:])
        owner += [row] * (len(ids) - start)
        begin += length
    blocks = tuple((len(list(equal)), length) for length, equal in groupby(lengths))
    places = torch.tensor(where), torch.tensor(wanted), torch.tensor(owner)
    if len(blocks) == 1:
        return TokenBatch(ids_M.view(blocks[0]), *places)
    positions_M = torch.cat([torch.arange(length).repeat(count) for count, length in blocks])
    return TokenBatch(ids_M[None], *places, positions_BT=positions_M[None], blocks=blocks)


def batch_choices(items: Sequence[Item]) -> TokenBatch:
    """Return every choice of every item as a row of its own."""
    return batch_rows([row for item in items for row in zip(item.choices, item.starts, strict=True)])


def batch_items(items: Sequence[Item]) -> TokenBatch:
    """Return one row an item: its prompt once, then all its choices. Answers are numbered as in `batch_choices`.

    C choices of Lc tokens after a prompt of Lp cost Lp + C Lc tokens instead of C (Lp + Lc).
    """
    longest = max(shared_length(item) for item in items)
    ids_BT = torch.zeros(len(items), longest, dtype=torch.long)
    segments_BT, positions_BT = torch.full_like(ids_BT, -1), torch.zeros_like(ids_BT)
    where: list[int] = []
    wanted: list[int] = []
    owner: list[int] = []
    answers = 0
    for row, item in enumerate(items):
        prompt = prefix_length(item)
        ids, segments, positions = list(item.choices[0][:prompt]), [0] * prompt, list(range(prompt))
        for choice in item.choices:
            begin, answer = row * longest + len(ids), choice[prompt:]
            where += [
                row * longest + prompt - 1,
                *range(begin, begin + len(answer) - 1),
            ]  # the prompt predicts the first
            wanted += answer
            owner += [answers] * len(answer)
            ids += answer
            segments += [answers + 1] * len(answer)
            positions += range(prompt, len(choice))
            answers += 1
        for tensor_BT, values in ((ids_BT, ids), (segments_BT, segments), (positions_BT, positions)):
            tensor_BT[row, : len(values)] = torch.tensor(values)
    places = torch.tensor(where), torch.tensor(wanted), torch.tensor(owner)
    return TokenBatch(ids_BT, *places, segments_BT, positions_BT)


def prefix_length(item: Item) -> int:
    """Return the number of tokens that all choices share, which stand before the answers; at least 1."""
    return item.starts[0]


def shared_length(item: Item) -> int:
    """Return the tokens of an item whose choices share their prompt."""
    prompt = prefix_length(item)
    return prompt + sum(len(choice) - prompt for choice in item.choices)


def segment_mask(segments_BT: Tensor) -> Tensor:
    """Return who sees whom, of shape (B, 1, T, T): earlier tokens of the own segment and of the prompt."""
    length = segments_BT.shape[1]
    causal_TT = torch.ones(length, length, dtype=torch.bool, device=segments_BT.device).tril()
    key_B1T, query_BT1 = segments_BT[:, None, :], segments_BT[:, :, None]
    return (causal_TT & ((key_B1T == query_BT1) | (key_B1T == 0)))[:, None]
