"""How the rows of a batch belong to lanes, and factors that are held over several batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from d2lora.attachment import adapted_layers
from d2lora.kernels.dropout import keys_tensor
from d2lora.layers.adapted import AdaptedLinear
from d2lora.layers.held_factors import HeldFactors
from d2lora.layers.rows import row_keys


@contextmanager
def lane_rows(
    model: nn.Module,
    counts: Sequence[int] | None,
    draw: int = 0,
    lengths: Sequence[int] | None = None,
    places: Sequence[int] | None = None,
) -> Iterator[None]:
    """Within: ``counts[l]`` rows of every batch belong to lane l, in lane order; a lane with 0 rows takes no part.

    Hold it around forward *and* backward, because gradient checkpointing runs the forward again. With None the rows of
    the batch that enters the model are shared equally. ``lengths[l]`` is what each of lane l's rows is long: for a
    batch that is one row in which those rows follow one another, and for layers that get their batch flat.

    Dropout draws by lane, by ``draw``, the optimizer step, and by the row's place in its lane's *global* batch:
    ``places`` are those of all rows, lane after lane (0, 1, ... in each lane by default). So it is the same however a
    batch is cut into micro batches and shared by ranks.

    ValueError: no adapters, counts, lengths and places that do not go together, or, in the forward, an input that has
    other rows.

    >>> import d2lora, torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4))
    >>> model = d2lora.attach(model, "lora", d2lora.get_method("lora").Config(rank=2, dropout=0.1), ["0"], lanes=2)
    >>> with d2lora.lane_rows(model, [1, 3], draw=5, places=[0, 0, 1, 2]):
    ...     model(torch.zeros(4, 8)).sum().backward()
    """
    first = next((module for module in model.modules() if isinstance(module, AdaptedLinear)), None)
    if first is None:
        raise ValueError("The model has no adapters: call d2lora.attach first.")
    _check_rows(len(first.lanes), counts, lengths, places)
    values: dict[str, object] = {"draw": draw, "keys_B": None}
    values |= {
        name: None if given is None else tuple(given)
        for name, given in (("counts", counts), ("lengths", lengths), ("places", places))
    }
    if counts is not None and first.training and any(lane.config.dropout for lane in first.lanes):
        keys = row_keys([lane.seed for lane in first.lanes], counts, draw, places)
        values["keys_B"] = keys_tensor(keys, first.weight.device)
    with first.current.having(**values):
        yield


def _check_rows(
    lanes: int, counts: Sequence[int] | None, lengths: Sequence[int] | None, places: Sequence[int] | None
) -> None:
    """Refuse what does not go together, with the numbers."""
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


@contextmanager
def held_factors(model: nn.Module) -> Iterator[HeldFactors]:
    """Within: every adapted layer computes its thin factors, and so its norms, once for all passes.

    Parameters must not change within. In training call ``backward()`` of what this yields after the last pass: until
    then the parameters have no gradient. A model without adapters has nothing to hold.

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
    with layers[0].current.having(held=held):  # the pass is one object, shared by all
        yield held
