"""Shortcuts: ways to compute less that leave a model's logits as they are, tested once on rows of the sweep's tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from orchestrator.data.tokens import Array, Item, TokenisedSplit
from orchestrator.model import block_attention
from orchestrator.model.plain_logits import PlainLogits
from orchestrator.model.token_batch import TokenBatch, batch_items, batch_rows
from orchestrator.model.windows import shortest_window

RANDOM_ITEMS = 2
"""The number of items of each task that are tested beside the item with the longest row."""
WORK = 5e11
"""The limit on tokens times parameters of the tested items, without the longest item: seconds on eight cores."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Shortcuts:
    """The shortcuts that are on, the same in every trainer, probe and champion of a sweep.

    ``share``: the choices of a question share their prompt when they are scored. ``blocks``: on CPUs, the rows of a
    pass may be padded to several lengths. ``remarks``: one line for each shortcut that is off, with the reason.
    """

    share: bool = False
    blocks: bool = False
    remarks: tuple[str, ...] = ()


NONE = Shortcuts()


def choose_shortcuts(model: nn.Module, tasks: Mapping[str, TokenisedSplit], blocks: bool = True) -> Shortcuts:
    """Return the shortcuts with which ``model``, without adapters, computes the same logits as for one row at a time.

    The shortcuts are tested on each task's longest row and on some other rows. Without ``blocks``, blocks are not
    tested. The model's attention is left as it was. InputError if the model cannot compute these rows, or if its logits
    differ between a head run on answer tokens alone and a head run on whole rows.
    """
    limit, longest = shortest_window(model.config), max(map(longest_row, tasks.values()))
    plain = PlainLogits(model, chosen_items(tasks, sum(weight.numel() for weight in model.parameters())))
    if longest > limit:
        looks = f"some layers look back {limit:g} tokens" if limit else "some layers carry a state from token to token"
        share = padded = f"{looks}, and the longest row has {longest}"
    else:
        share = plain.why_not(batch_items)
        padded = _why_no_blocks(plain) if blocks else ""
    remarks = [f"every choice is computed with a prompt of its own: {share}"] if share else []
    remarks += [f"rows of a pass are padded to one length: {padded}"] if padded and blocks else []
    return Shortcuts(not share, blocks and not padded, tuple(remarks))


def take(model: nn.Module, shortcuts: Shortcuts, device: torch.device = CPU) -> None:
    """Give ``model`` attention in blocks if the shortcut ``blocks`` is on and ``device`` is a CPU, else the default.

    Blocks are for CPUs alone, because their speed on GPUs has not been measured.
    """
    blocks = shortcuts.blocks and device.type == "cpu"
    if blocks != takes_blocks(model):
        block_attention.use(model, block_attention.IN_BLOCKS if blocks else block_attention.PLAIN)


def takes_blocks(model: nn.Module) -> bool:
    """Return whether ``model`` has the attention that takes rows in blocks (see `take`)."""
    attention = getattr(getattr(model, "config", None), "_attn_implementation", "")
    return bool(attention == block_attention.IN_BLOCKS)


def longest_row(items: TokenisedSplit) -> int:
    """Return the number of tokens of the longest choice, with its prompt and with the end tokens that are trained."""
    return int(_lengths(items).max(initial=0)) + len(items.end)


def chosen_items(tasks: Mapping[str, TokenisedSplit], parameters: int) -> list[Item]:
    """Return the items to test: each task's item with the longest row, the longest first, then random items.

    ``parameters`` is the size of the model. Items beyond the limit `WORK` are left out. Each item is cut to its two
    longest choices, which is enough to test a shared prompt. End tokens that are trained follow both choices.
    """
    longest = [items[_longest_item(items)] for items in sorted(tasks.values(), key=longest_row, reverse=True)]
    draw = np.random.default_rng(0)
    others = [
        items[int(index)]
        for items in tasks.values()
        for index in draw.choice(len(items), min(RANDOM_ITEMS, len(items)), replace=False)
    ]
    chosen, work = [_of_two(longest[0])], 0.0
    for item in map(_of_two, [*longest[1:], *others]):
        work += 4.0 * sum(map(len, item.choices)) * parameters  # computed alone, together, shared and in blocks
        if work <= WORK:
            chosen.append(item)
    return chosen


def _of_two(item: Item) -> Item:
    """Return the item with only its two longest choices, each followed by the end tokens that are trained."""
    kept = sorted(range(len(item.choices)), key=lambda choice: -len(item.choices[choice]))[:2]
    return replace(
        item,
        choices=tuple(item.choices[choice] + item.end for choice in kept),
        starts=tuple(item.starts[choice] for choice in kept),
        lengths=tuple(item.lengths[choice] for choice in kept),
        answer=0,
        end=(),
    )


def _lengths(items: TokenisedSplit) -> Array:
    return np.diff(items.token_ends, prepend=0)


def _longest_item(items: TokenisedSplit) -> int:
    return int(np.searchsorted(items.choice_ends, _lengths(items).argmax(), side="right"))


def _why_no_blocks(plain: PlainLogits) -> str:
    """Return why rows may not be computed in blocks; "" if the logits in blocks are the same."""
    config: Any = plain.model.config
    before = config._attn_implementation
    if before != block_attention.PLAIN or not block_attention.can_be_chosen(plain.model):
        return f"its attention ({before}) cannot be exchanged"
    try:
        return plain.why_not(_choices_in_blocks, lambda: block_attention.use(plain.model, block_attention.IN_BLOCKS))
    finally:
        block_attention.use(plain.model, before)


def _choices_in_blocks(items: Sequence[Item]) -> TokenBatch:
    """Return a batch in blocks of all choices; every second choice is padded by one token, to get several blocks."""
    rows = [row for item in items for row in zip(item.choices, item.starts, strict=True)]
    return batch_rows(rows, [len(ids) + index % 2 for index, (ids, _) in enumerate(rows)])
