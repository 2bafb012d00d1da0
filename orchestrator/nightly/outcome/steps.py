"""Pure: the first step at which a cell's losses differ from those of the night that it is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.verdict.bytes import first_difference
from orchestrator.verdict.night import Cell
from orchestrator.verdict.verdict import Bytes

Losses = Mapping[tuple[str, str, int], Sequence[float]]
"""By task, method and seed the loss of each step."""


def with_steps(differ: Bytes, cell: Cell, before: Losses, now: Losses) -> Bytes:
    """Return the comparison with the first step that differs and its losses, counted from 1.

    ``before`` are the losses of the night ``differ.against``. Equal losses under different bytes (only the scores
    moved), and losses that are gone, name no step.
    """
    if differ.equal is not False or differ.run is None:
        return differ
    one, other = (losses.get((*cell, differ.run), ()) for losses in (before, now))
    step = first_difference(one, other) if one and other else None
    if step is None:
        return differ
    return replace(differ, first_step=step, step_before=_at(one, step), step_after=_at(other, step))


def _at(losses: Sequence[float], step: int) -> float | None:
    return losses[step - 1] if step <= len(losses) else None
