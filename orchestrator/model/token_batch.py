"""Token batches: rows of questions as the tensors of one forward pass."""

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
"""One row: the ids of prompt and answer, and the index of the first answer token."""
Blocks = tuple[tuple[int, int], ...]
"""The (rows, padded length) of each block of rows, in order."""


@dataclass(frozen=True)
class TokenBatch:
    """The rows of one forward pass, in one of three layouts.

    Padded rows: one row per answer, padded on the right to one length.
    Shared prompts: one row per question, its prompt once, then its choices; has ``segments_BT`` and ``positions_BT``.
    Blocks: all rows follow one another in a single row (B = 1); has ``blocks`` and ``positions_BT``.

    ids_BT        token ids; padding is 0
    where_A       the flat position in ``ids_BT`` of the token whose logits predict each answer token
    wanted_A      the id of each answer token
    owner_A       the number of the answer that each answer token belongs to
    segments_BT   0 for the prompt, k for the k-th answer of the batch, -1 for padding. A token sees earlier tokens of
                  its own segment and of the prompt.
    positions_BT  the position of each token within its own row. A choice's tokens are numbered as if they followed the
                  prompt.
    blocks        the (rows, padded length) of each block. A token sees earlier tokens of its own row.
    """

    ids_BT: Tensor
    where_A: Tensor
    wanted_A: Tensor
    owner_A: Tensor
    segments_BT: Tensor | None = None
    positions_BT: Tensor | None = None
    blocks: Blocks = ()

    def inputs(self, device: torch.device) -> tuple[Tensor | Blocks | None, ...]:
        """Return the arguments of `AnswerModel.forward`, on ``device``."""
        tensors = (self.ids_BT, self.where_A, self.segments_BT, self.positions_BT)
        return (*(None if tensor is None else tensor.to(device) for tensor in tensors), self.blocks)


def batch_rows(rows: Sequence[AnswerRow], lengths: Sequence[int] | None = None) -> TokenBatch:
    """Return a token batch of one answer per row, numbered in order.

    ``lengths`` are the padded lengths of the rows; by default all rows are padded to the longest. If lengths differ,
    the batch is in blocks. An answer token is predicted by the logits of the token before it.
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
    answers = torch.tensor(where), torch.tensor(wanted), torch.tensor(owner)
    if len(blocks) == 1:
        return TokenBatch(ids_M.view(blocks[0]), *answers)
    positions_M = torch.cat([torch.arange(length).repeat(count) for count, length in blocks])
    return TokenBatch(ids_M[None], *answers, positions_BT=positions_M[None], blocks=blocks)


def batch_choices(items: Sequence[Item]) -> TokenBatch:
    """Return a token batch with every choice of every item as a row of its own."""
    return batch_rows([row for item in items for row in zip(item.choices, item.starts, strict=True)])


def batch_items(items: Sequence[Item]) -> TokenBatch:
    """Return a token batch with one row per item: its prompt once, then all its choices.

    Answers are numbered as in `batch_choices`. C choices of Lc tokens after a prompt of Lp tokens take Lp + C Lc tokens
    instead of C (Lp + Lc).
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
            where.append(row * longest + prompt - 1)  # the prompt's last token predicts the first answer token
            where += range(begin, begin + len(answer) - 1)
            wanted += answer
            owner += [answers] * len(answer)
            ids += answer
            segments += [answers + 1] * len(answer)
            positions += range(prompt, len(choice))
            answers += 1
        for tensor_BT, values in ((ids_BT, ids), (segments_BT, segments), (positions_BT, positions)):
            tensor_BT[row, : len(values)] = torch.tensor(values)
    answer_tokens = torch.tensor(where), torch.tensor(wanted), torch.tensor(owner)
    return TokenBatch(ids_BT, *answer_tokens, segments_BT, positions_BT)


def prefix_length(item: Item) -> int:
    """Return the number of prompt tokens, which all choices of an item share; at least 1."""
    return item.starts[0]


def shared_length(item: Item) -> int:
    """Return the number of tokens of an item whose choices share their prompt."""
    prompt = prefix_length(item)
    return prompt + sum(len(choice) - prompt for choice in item.choices)


def segment_mask(segments_BT: Tensor) -> Tensor:
    """Return the attention mask (B, 1, T, T).

    The mask is True where a token (third dimension) sees another token (fourth dimension). A token sees earlier tokens
    of its own segment and of the prompt.
    """
    length = segments_BT.shape[1]
    causal_TT = torch.ones(length, length, dtype=torch.bool, device=segments_BT.device).tril()
    key_B1T, query_BT1 = segments_BT[:, None, :], segments_BT[:, :, None]
    return (causal_TT & ((key_B1T == query_BT1) | (key_B1T == 0)))[:, None]
