"""The contexts of a training loop: whose rows a batch holds, and thin factors that several passes share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from d2lora.attachment import adapted_layers
from d2lora.layers.adapted import AdaptedLinear
from d2lora.layers.dropout import keys_tensor
from d2lora.layers.held_factors import HeldFactors
from d2lora.layers.rows import row_keys


@contextmanager
def lane_rows(
    model: nn.Module,
    counts: Sequence[int] | None,
    draw: int | Sequence[int] = 0,
    lengths: Sequence[int] | None = None,
    places: Sequence[int] | None = None,
) -> Iterator[None]:
    """Within: ``counts[l]`` rows of every batch belong to lane l, in lane order; a lane with 0 rows takes no part.

    With ``counts=None`` the rows of the batch that enters the model are shared equally. Hold the context around forward
    *and* backward, because gradient checkpointing runs the forward again in backward.

    ``lengths[l]`` is how many tokens each row of lane l has. Give it if a layer gets all tokens in one dimension: then
    the input's shape does not show where a row ends.

    Dropout draws from three numbers: the lane's seed, ``draw`` (the optimizer step: one number for all lanes, or one
    per lane), and the row's place in the lane's *global* batch. ``places`` are the places of all rows, lane after lane;
    the default is 0, 1, ... in each lane. So a row's mask is the same however the global batch is cut into micro
    batches and divided among ranks.

    ValueError: no adapters, or ``counts``, ``lengths``, ``places`` and draws whose numbers contradict each other. In
    the forward, ValueError: an input with another number of rows.

    >>> import d2lora, torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4))
    >>> model = d2lora.attach(model, "lora", d2lora.get_method("lora").Config(rank=2, dropout=0.1), ["0"], lanes=2)
    >>> with d2lora.lane_rows(model, [1, 3], draw=5, places=[0, 0, 1, 2]):
    ...     model(torch.zeros(4, 8)).sum().backward()
    """
    first = next((module for module in model.modules() if isinstance(module, AdaptedLinear)), None)
    if first is None:
        raise ValueError("The model has no adapters: call d2lora.attach first.")
    draws = (draw,) * len(first.lanes) if isinstance(draw, int) else tuple(draw)
    _check_rows(len(first.lanes), counts, lengths, places, draws)
    values: dict[str, object] = {"draws": draws, "keys_B": None}
    values |= {
        name: None if given is None else tuple(given)
        for name, given in (("counts", counts), ("lengths", lengths), ("places", places))
    }
    if counts is not None and first.training and any(lane.config.dropout for lane in first.lanes):
        keys = row_keys([lane.seed for lane in first.lanes], counts, draws, places)
        values["keys_B"] = keys_tensor(keys, first.weight.device)
    with first.batch_rows.temporarily(**values):
        yield


@contextmanager
def held_factors(model: nn.Module) -> Iterator[HeldFactors]:
    """Within: every adapted layer computes its thin factors, and so its norms, once for all passes.

    Parameters must not change within. In training, call ``backward()`` of the yielded object after the last pass: until
    then the parameters have no gradient. For a model without adapters the context does nothing.

    >>> import d2lora, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> model = d2lora.attach(model, "lora", lora, ["0"])
    >>> with d2lora.held_factors(model) as held:
    ...     for micro_batch in torch.randn(4, 2, 8):
    ...         model(micro_batch).square().mean().backward()
    ...     held.backward()
    """
    layers = list(adapted_layers(model).values())
    held = HeldFactors(layers)
    if not layers:
        yield held
        return
    with layers[0].batch_rows.temporarily(held=held):  # all layers of the model share this one object
        yield held


def _check_rows(
    lanes: int,
    counts: Sequence[int] | None,
    lengths: Sequence[int] | None,
    places: Sequence[int] | None,
    draws: Sequence[int],
) -> None:
    """Raise ValueError, with the numbers, if counts, lengths, places and draws contradict each other."""
    if len(draws) != lanes:
        raise ValueError(f"lane_rows got {len(draws)} draws for {lanes} lanes: give one, or give each lane its own.")
    if counts is None:
        for name, given in (("lengths", lengths), ("places", places)):
            if given is not None:
                raise ValueError(
                    f"lane_rows got {len(given)} {name} and no counts: give the rows of each lane as well."
                )
        return
    if len(counts) != lanes or min(counts, default=0) < 0:
        raise ValueError(f"lane_rows got the counts {list(counts)} for {lanes} lanes: give each its rows, 0 or more.")
    if lengths is not None and len(lengths) != lanes:
        raise ValueError(f"lane_rows got {len(lengths)} lengths for {lanes} lanes: give each the length of its rows.")
    if places is not None and len(places) != sum(counts):
        raise ValueError(f"lane_rows got {len(places)} places for {sum(counts)} rows: give each row its place.")
