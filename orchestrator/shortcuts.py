"""Ways to compute less that a model may take: decided once, on the rows that it will train on and score."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from orchestrator import attention
from orchestrator.answers import AnswerModel, distance, tolerance
from orchestrator.errors import InputError
from orchestrator.packed import Packed, pack_choices, pack_items, pack_rows
from orchestrator.tokens import Array, Item, TokenisedSplit
from orchestrator.windows import shortest_window

RANDOM_ITEMS = 3  # of each task, beside the one with its longest row
WORK = 2e13  # tokens times parameters that trying may take: minutes on a slow processor
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
    items = chosen_items(tasks, sum(one.numel() for one in model.parameters()))
    wanted = [_plainly(model, item) for item in items]
    _refuse_other_answers(model, items, wanted)
    if longest > limit:
        looks = f"some layers look back {limit:g} tokens" if limit else "some layers carry a state from token to token"
        share = padded = f"{looks}, and the longest row has {longest}"
    else:
        share = _why_not(lambda: _farthest(model, pack_items, items, wanted), _limit(model))
        padded = _why_no_blocks(model, items, wanted) if blocks else ""
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
    """Return the tokens of the longest choice with its prompt."""
    return int(_lengths(items).max(initial=0))


def chosen_items(tasks: Mapping[str, TokenisedSplit], parameters: int) -> list[Item]:
    """Return each task's item with its longest row, the longest of all first, then random ones, within `WORK`."""
    longest = [items[_longest_item(items)] for items in sorted(tasks.values(), key=longest_row, reverse=True)]
    draw = np.random.default_rng(0)
    others = [
        items[int(place)]
        for items in tasks.values()
        for place in draw.choice(len(items), min(RANDOM_ITEMS, len(items)), replace=False)
    ]
    chosen, work = longest[:1], 0.0
    for item in [*longest[1:], *others]:
        work += 3.0 * sum(map(len, item.choices)) * parameters  # alone, together and shared
        if work <= WORK:
            chosen.append(item)
    return chosen


def _lengths(items: TokenisedSplit) -> Array:
    return np.diff(items.token_ends, prepend=0)


def _longest_item(items: TokenisedSplit) -> int:
    return int(np.searchsorted(items.choice_ends, _lengths(items).argmax(), side="right"))


def _plainly(model: nn.Module, item: Item) -> Tensor:
    """Return the logits (A, V) of each choice by itself, of the model's own forward over its whole row."""
    device = next(model.parameters()).device
    parts = []
    for ids, start in zip(item.choices, item.starts, strict=True):
        try:
            with torch.no_grad():
                logits_TV = model(input_ids=torch.tensor([ids], device=device), use_cache=False).logits[0]
        except Exception as error:  # whatever the architecture's own code raises on a row that it cannot take
            raise InputError(
                f"{type(model).__name__} cannot compute a row of {len(ids)} tokens: {type(error).__name__}: "
                f"{str(error).splitlines()[0] if str(error) else ''} Lower data.max_length if shorter rows would do, "
                "or take another base."
            ) from error
        parts.append(logits_TV[start - 1 : len(ids) - 1].float())
    return torch.cat(parts)


def _refuse_other_answers(model: nn.Module, items: Sequence[Item], wanted: Sequence[Tensor]) -> None:
    reason = _why_not(lambda: _farthest(model, pack_choices, items, wanted), _limit(model))
    if reason:
        raise InputError(
            f"{type(model).__name__} does not give the logits of an answer without those of its whole row "
            f"({reason}). This architecture is not supported; take another base."
        )


def _why_no_blocks(model: nn.Module, items: Sequence[Item], wanted: Sequence[Tensor]) -> str:
    """Return why the model computes something else of one row in which all choices follow one another, if it does."""
    config: Any = model.config
    before = config._attn_implementation
    if before != attention.PLAIN or not attention.can_be_chosen(model):
        return f"its attention ({before}) cannot be exchanged"

    def far() -> float:
        attention.use(model, attention.IN_BLOCKS)
        return _farthest(model, _pack_in_blocks, items, wanted)

    try:
        return _why_not(far, _limit(model))
    finally:
        attention.use(model, before)


def _pack_in_blocks(items: Sequence[Item]) -> Packed:
    """Return all choices in one row, every other one with a token of padding: so lengths differ, whatever the items."""
    rows = [row for item in items for row in zip(item.choices, item.starts, strict=True)]
    return pack_rows(rows, [len(ids) + place % 2 for place, (ids, _) in enumerate(rows)])


def _farthest(
    model: nn.Module, pack: Callable[[Sequence[Item]], Packed], items: Sequence[Item], wanted: Sequence[Tensor]
) -> float:
    """Return the largest `distance` of any two items, packed together, from the wanted logits; NaN if any is NaN."""
    device = next(model.parameters()).device
    far = []
    for begin in range(0, len(items), 2):
        packed, wanted_AV = pack(items[begin : begin + 2]), torch.cat(list(wanted[begin : begin + 2]))
        with torch.no_grad():
            far.append(distance(AnswerModel(model)(*packed.inputs(device)), wanted_AV))
    return max(far, key=lambda one: math.inf if math.isnan(one) else one)


def _limit(model: nn.Module) -> float:
    return tolerance(next(model.parameters()).dtype)


def _why_not(far: Callable[[], float], limit: float) -> str:
    """Return why logits may not be computed so: they differ, or the architecture's code raises; else nothing."""
    try:
        found = far()
    except Exception as error:  # whatever code that knows nothing of it makes of it: that is an answer
        return f"the architecture's code does not take it ({type(error).__name__}: {str(error).split(chr(10))[0]})"
    return "" if found <= limit else f"logits would differ by {found:.2g} of their norm"
