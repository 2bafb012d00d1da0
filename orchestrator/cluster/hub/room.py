"""Pure: the request of a trainer for room on nodes, and what to say while not a single trainer has room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.cluster.placement import words_of
from orchestrator.recipe.cluster_section import ClusterSpec

FIRST_WORD = 10.0  # seconds without room until the user is told
NEXT_WORD = 60.0  # and between two later words


@dataclass
class RoomRequest:
    """The hub writes whether the trainer is still ``wanted``, the trainer's thread whether the trainer ``has_room``.

    ``since`` is when the hub has made the request, in seconds of its clock. ``avoid`` are the ids of nodes that are not
    to be used; the hub may add nodes while the request waits.
    """

    wanted: bool = True
    has_room: bool = False
    since: float = 0.0
    avoid: frozenset[str] = frozenset()


class RoomWait:
    """The wait of a sweep while not a single trainer has room: when to say a word, and when to give up."""

    def __init__(self, spec: ClusterSpec) -> None:
        self._spec, self._limit = spec, spec.wait_seconds
        self._since: float | None = None
        self._next = 0.0

    def look(self, waits: bool, now: float) -> Literal["say", "give up"] | None:
        """Return what to do at the time ``now``, in seconds; ``waits`` is whether the wait goes on."""
        if not waits:
            self._since = None
            return None
        if self._since is None:
            self._since, self._next = now, now + FIRST_WORD
        if now - self._since >= self._limit:
            self._since = None
            return "give up"
        if now >= self._next:
            self._next = now + NEXT_WORD
            return "say"
        return None

    def word(self, cluster: str) -> str:
        """Return what is waited for; ``cluster`` says what the cluster has now."""
        return (
            f"waiting for room for a trainer ({words_of(self._spec)}); the cluster has now: {cluster}; it is waited "
            f"for up to {self._limit / 60:.3g} min"
        )

    def reason(self, cluster: str) -> str:
        """Return why the wait was given up, and what helps."""
        return (
            f"no trainer ({words_of(self._spec)}) had room within {self._limit / 60:.3g} min; the cluster "
            f"has: {cluster}. `ray status` says which nodes are there and which are asked for. Ask for less "
            "(cluster.workers, cpus_per_worker, gpus_per_worker), start nodes, or wait longer (cluster.wait_seconds); "
            "then the same command goes on."
        )
