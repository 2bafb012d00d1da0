"""Ways to compute less that a model may take: decided once, on the rows that it will train on and score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from orchestrator.data.tokens import Array, Item, TokenisedSplit
from orchestrator.model import block_attention as attention
from orchestrator.model.plain_logits import Plain
from orchestrator.model.token_batch import TokenBatch, batch_items, batch_rows
from orchestrator.model.windows import shortest_window

RANDOM_ITEMS = 2  # of each task, beside the one with its longest row
WORK = 5e11  # tokens times parameters that trying others than the longest row may take: seconds on eight cores
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Shortcuts:
    """What every trainer, probe and champion of a sweep does alike.

    ``share``: the choices of a question share their prompt. ``blocks``: rows of several lengths go through without
    padding between them, on CPUs. ``told`` says in a line each what is off, and why.
    """

    share: bool = False
    blocks: bool = False
    told: tuple[str, ...] = ()


NONE = Shortcuts()


def choose_shortcuts(model: nn.Module, tasks: Mapping[str, TokenisedSplit], blocks: bool = True) -> Shortcuts:
    """Return what ``model``, without adapters, computes the same with as row after row by itself.

    It is tried on each task's longest row and some others. InputError if the model cannot compute them, or if its
    logits where answers are differ from those that it gives of a whole row. Its attention is left as it was.
    """
    limit, longest = shortest_window(model.config), max(map(longest_row, tasks.values()))
    plain = Plain(model, chosen_items(tasks, sum(one.numel() for one in model.parameters())))
    if longest > limit:
        looks = f"some layers look back {limit:g} tokens" if limit else "some layers carry a state from token to token"
        share = padded = f"{looks}, and the longest row has {longest}"
    else:
        share = plain.why_not(batch_items)
        padded = _why_no_blocks(plain) if blocks else ""
    told = [f"every choice is computed with a prompt of its own: {share}"] if share else []
    told += [f"rows of a pass are padded to one length: {padded}"] if padded and blocks else []
    return Shortcuts(not share, blocks and not padded, tuple(told))


def take(model: nn.Module, shortcuts: Shortcuts, device: torch.device = CPU) -> None:
    """Let ``model`` take the blocks that were chosen, if it trains where they were measured, on a CPU; else none."""
    blocks = shortcuts.blocks and device.type == "cpu"
    if blocks != takes_blocks(model):
        attention.use(model, attention.IN_BLOCKS if blocks else attention.PLAIN)


def takes_blocks(model: nn.Module) -> bool:
    """Return whether `take` has let it."""
    return bool(getattr(getattr(model, "config", None), "_attn_implementation", "") == attention.IN_BLOCKS)


def longest_row(items: TokenisedSplit) -> int:
    """Return the tokens of the longest choice with its prompt, and with the end that it is trained with."""
    return int(_lengths(items).max(initial=0)) + len(items.end)


def chosen_items(tasks: Mapping[str, TokenisedSplit], parameters: int) -> list[Item]:
    """Return each task's item with its longest row, the longest of all first, then random ones, within `WORK`.

    Of each the longest choice and another one: two show what a prompt that they share does. An end that is trained
    stands behind both of them.
    """
    longest = [items[_longest_item(items)] for items in sorted(tasks.values(), key=longest_row, reverse=True)]
    draw = np.random.default_rng(0)
    others = [
        items[int(place)]
        for items in tasks.values()
        for place in draw.choice(len(items), min(RANDOM_ITEMS, len(items)), replace=False)
    ]
    chosen, work = [_of_two(longest[0])], 0.0
    for item in map(_of_two, [*longest[1:], *others]):
        work += 4.0 * sum(map(len, item.choices)) * parameters  # alone, together, shared and in blocks
        if work <= WORK:
            chosen.append(item)
    return chosen


def _of_two(item: Item) -> Item:
    """Return the item with its two longest choices alone, each with the end."""
    kept = sorted(range(len(item.choices)), key=lambda one: -len(item.choices[one]))[:2]
    return replace(
        item,
        choices=tuple(item.choices[one] + item.end for one in kept),
        starts=tuple(item.starts[one] for one in kept),
        lengths=tuple(item.lengths[one] for one in kept),
        answer=0,
        end=(),
    )


def _lengths(items: TokenisedSplit) -> Array:
    return np.diff(items.token_ends, prepend=0)


def _longest_item(items: TokenisedSplit) -> int:
    return int(np.searchsorted(items.choice_ends, _lengths(items).argmax(), side="right"))


def _why_no_blocks(plain: Plain) -> str:
    """Return why the model computes something else of one row in which all choices follow one another, if it does."""
    config: Any = plain.model.config
    before = config._attn_implementation
    if before != attention.PLAIN or not attention.can_be_chosen(plain.model):
        return f"its attention ({before}) cannot be exchanged"
    try:
        return plain.why_not(_pack_in_blocks, lambda: attention.use(plain.model, attention.IN_BLOCKS))
    finally:
        attention.use(plain.model, before)


def _pack_in_blocks(items: Sequence[Item]) -> TokenBatch:
    """Return all choices in one row, every other one with a token of padding: so lengths differ, whatever the items."""
    rows = [row for item in items for row in zip(item.choices, item.starts, strict=True)]
    return batch_rows(rows, [len(ids) + place % 2 for place, (ids, _) in enumerate(rows)])
