"""Which rows of a batch belong to which lane: one object that all adapted layers of a model share.

Rows belong to lanes by count, in lane order: with the counts 2 and 3, the first two rows are lane 0's. An adapted layer
that gets another number of rows than the batch has raises an error, because nothing says whose rows they are. Experts
are such layers: each gets only the rows that were routed to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from d2lora.layers.dropout import Extent, keys_tensor, row_key

if TYPE_CHECKING:
    from d2lora.layers.held_factors import HeldFactors


@dataclass
class BatchRows:
    """The rows of the batch that is going through a model; `d2lora.lane_rows` and `d2lora.held_factors` set its fields.

    counts   how many rows each lane has, in lane order; None: the batch that enters the model is shared equally
    lengths  how many tokens each row of a lane has, for layers whose input has all tokens in one dimension; None: the
             input's own shape says so
    places   the place of each row in its lane's global batch; None: 0, 1, ... in each lane
    draws    the optimizer step of each lane, one of the numbers from which dropout is drawn; None: 0 for all lanes
    keys_B   dropout's key of every row, if `d2lora.lane_rows` has computed the keys; None: each layer computes them
    batch    the rows, and the tokens per row, of the batch that entered the model last (`SeesBatch`)
    held     the thin factors that several passes read (`d2lora.held_factors`); None: each pass builds its own
    """

    counts: tuple[int, ...] | None = None
    lengths: tuple[int, ...] | None = None
    places: tuple[int, ...] | None = None
    draws: tuple[int, ...] | None = None
    keys_B: Tensor | None = None
    batch: Extent | None = None
    held: HeldFactors | None = None

    @contextmanager
    def temporarily(self, **values: Any) -> Iterator[None]:
        """Within: the named fields have these values; afterwards they have their old values again."""
        before = {name: getattr(self, name) for name in values}
        vars(self).update(values)
        try:
            yield
        finally:
            vars(self).update(before)

    def extents(self, lanes: int, leading: Sequence[int]) -> list[Extent]:
        """Return each lane's rows, and the tokens per row, for a layer's input of shape (*leading, I).

        A model with one lane takes any input: if the input has another number of rows than the batch, each token counts
        as a row. With more lanes such an input is a ValueError, with the numbers.
        """
        leading = tuple(leading) or (1,)
        counts = self._counts(lanes, leading)
        extents = self._fitting(counts, leading)
        if extents is not None:
            return extents
        if lanes == 1:
            return [(math.prod(leading), 1)]
        lengths = "" if self.lengths is None else f" of {list(self.lengths)} tokens"
        raise ValueError(
            f"The pass has {sum(counts)} rows ({list(counts)}{lengths} for {lanes} lanes), but a layer's input has "
            f"{leading[0]} rows ({' x '.join(map(str, leading))}): it is not known whose rows they are. A layer that "
            "gets the batch flat needs d2lora.lane_rows(model, counts, lengths=...). A layer that gets some of the "
            "rows, as experts do, can be adapted by one lane alone."
        )

    def keys(self, seeds: Sequence[int], extents: Sequence[Extent], device: torch.device) -> Tensor:
        """Return dropout's key of every row, lane after lane, of shape (B,); ``seeds`` are those of the lanes."""
        rows = sum(count for count, _ in extents)
        if self.keys_B is not None and len(self.keys_B) == rows:
            return self.keys_B.to(device)
        places = self.places if self.places is not None and len(self.places) == rows else None
        draws = (0,) * len(seeds) if self.draws is None else self.draws
        return keys_tensor(row_keys(seeds, [count for count, _ in extents], draws, places), device)

    def _counts(self, lanes: int, leading: Sequence[int]) -> tuple[int, ...]:
        """Return how many rows of the batch each lane has."""
        if self.counts is not None:
            if len(self.counts) != lanes:
                raise ValueError(f"lane_rows gave {list(self.counts)} for a model of {lanes} lanes: give each a count.")
            return self.counts
        if lanes == 1:
            return (leading[0],)
        if self.batch is None:
            raise ValueError(
                f"It is not known how many rows the batch has, which are to be shared by {lanes} lanes: call the model "
                "that was given to d2lora.attach, or use d2lora.lane_rows(model, counts)."
            )
        if self.batch[0] % lanes:
            raise ValueError(
                f"{self.batch[0]} rows cannot be shared equally by {lanes} lanes: use d2lora.lane_rows(model, counts)."
            )
        return (self.batch[0] // lanes,) * lanes

    def _fitting(self, counts: tuple[int, ...], leading: Sequence[int]) -> list[Extent] | None:
        """Return the extents if an input of shape (*leading, I) holds exactly ``counts`` rows; None if it does not."""
        rows, tokens = sum(counts), math.prod(leading)
        if self.lengths is not None:
            total = sum(count * length for count, length in zip(counts, self.lengths, strict=True))
            fits = tokens == total and leading[0] in (1, rows, total)
            return list(zip(counts, self.lengths, strict=True)) if fits else None
        if leading[0] == rows:
            return [(count, math.prod(leading[1:])) for count in counts]
        if self.batch is not None and self.batch[0] == rows and tuple(leading) == (math.prod(self.batch),):
            return [(count, self.batch[1]) for count in counts]
        return None


def row_keys(
    seeds: Sequence[int], counts: Sequence[int], draws: Sequence[int], places: Sequence[int] | None = None
) -> list[int]:
    """Return dropout's key of every row, lane after lane, from the seed and the draw of each lane.

    ``places`` default to 0, 1, ... in each lane.
    """
    if places is None:
        places = [place for count in counts for place in range(count)]
    owners = [lane for lane, count in enumerate(counts) for _ in range(count)]
    return [row_key(seeds[lane], draws[lane], place) for lane, place in zip(owners, places, strict=True)]


class SeesBatch:
    """A forward pre-hook of the model given to `d2lora.attach`, which notes the size of each batch in `BatchRows`."""

    def __init__(self, batch_rows: BatchRows) -> None:
        self.batch_rows = batch_rows

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Note the rows, and the tokens per row, of the first tensor with a dimension among the model's arguments."""
        for value in (*args, *kwargs.values()):
            if isinstance(value, Tensor) and value.dim():
                self.batch_rows.batch = (value.shape[0], value.shape[1] if value.dim() > 1 else 1)
                return
        self.batch_rows.batch = None


def forget_batches(model: nn.Module) -> None:
    """Remove every `SeesBatch` hook from the model, in place."""
    for module in model.modules():
        for number in [number for number, hook in module._forward_pre_hooks.items() if isinstance(hook, SeesBatch)]:
            del module._forward_pre_hooks[number]
            module._forward_pre_hooks_with_kwargs.pop(number, None)
