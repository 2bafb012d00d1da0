"""Pure: how many trainers a sweep keeps while another sweep waits for room on the same cluster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.cluster.placement import EXACT
from orchestrator.recipe.cluster_section import ClusterSpec

PATIENT_SECONDS = 10.0  # a request for room that is younger is no reason for another sweep to give room up
SLICE_SECONDS = 300.0  # so long a sweep keeps its only trainer while another sweep has none
UNUSED_SECONDS = 60.0  # after so long, room that was given up and that nobody has taken is used again
KEEP_SECONDS = 1800.0  # and for so long nothing more is given up


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


class Sharing:
    """How many trainers one sweep keeps, look by look. Times are seconds of one clock.

    Another sweep may wait for room that it can never use, as for a larger node. So room that stays free although others
    wait is used again.
    """

    def __init__(self, now: float) -> None:
        self._all_have_some, self._keeps_until = now, -math.inf
        self._unused: float | None = None

    def share(self, own: Standing, others: Sequence[Standing], free: float, now: float) -> int | None:
        """Return the answer of `share_of`; ``free`` is how much of the sweep's kind of resource nobody holds."""
        if not any(one.waits and not one.held for one in others):
            self._all_have_some = now
        share = share_of(own, others, now - self._all_have_some)
        if share is None or now < self._keeps_until:
            self._unused = None
            return None
        if free < own.trainer - EXACT:
            self._unused = None
        elif self._unused is None:
            self._unused = now
        elif now - self._unused >= UNUSED_SECONDS:
            self._unused, self._keeps_until = None, now + KEEP_SECONDS
            return None
        return share
