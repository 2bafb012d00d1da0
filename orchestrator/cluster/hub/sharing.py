"""Pure: how many trainers a sweep keeps while another sweep waits for room on the same cluster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.cluster.placement import EXACT
from orchestrator.recipe.sections import ClusterSpec

PATIENT_SECONDS = 10.0  # a request for room that is younger is no reason for another sweep to give room up
SLICE_SECONDS = 300.0  # so long a sweep keeps its only trainer while another sweep has none


@dataclass(frozen=True)
class Standing:
    """What a sweep holds of the cluster: an amount of ``kind`` ("GPU" or "CPU"), and whether it waits for more.

    ``trainer`` is the amount that one trainer reserves.
    """

    kind: str
    held: float
    trainer: float
    waits: bool


def standing_of(spec: ClusterSpec, trainers: int, waits: bool) -> Standing:
    """Return the standing of a sweep with so many trainers that have room."""
    kind, each = ("GPU", spec.gpus_per_worker) if spec.gpus_per_worker else ("CPU", spec.cpus_per_worker)
    return Standing(kind, trainers * spec.workers * each, spec.workers * each, waits)


def share_of(own: Standing, others: Sequence[Standing], seconds: float) -> int | None:
    """Return how many trainers a sweep may keep at the end of their packs; None: all, because nobody waits.

    All sweeps that hold or want the same kind of resource have equal shares of what they hold together. A share that is
    less than one trainer counts as one, until for so many ``seconds`` another sweep has waited without any: then the
    only trainer goes too, and the sweeps take turns.
    """
    rivals = [one for one in others if one.kind == own.kind and (one.held or one.waits)]
    if not any(one.waits for one in rivals):
        return None
    fair = (own.held + sum(one.held for one in rivals)) / (1 + len(rivals)) / own.trainer
    if fair < 1 - EXACT and own.held and any(one.waits and not one.held for one in rivals):
        return 0 if seconds >= SLICE_SECONDS else 1
    return max(1, math.ceil(fair - EXACT))
