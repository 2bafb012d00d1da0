"""Pure: nodes on which pack after pack fails before a step, while trainers on other nodes work, are used no more."""

from __future__ import annotations

from collections import Counter

from orchestrator.cluster.hub.breaker import LIKE
from orchestrator.cluster.hub.messages import Place


class BadNodes:
    """Counts, by node, packs in a row that failed or lost their trainer before a new step.

    A node with a broken GPU, or without the storage, is free again in seconds: without this count it would take, and
    fail, one pack after another. Where no other node is at work the `Breaker` decides: then all may be at fault.
    ``hosts`` are the nodes that are used no more, by id; a new step on a node begins the count of the node anew.
    """

    def __init__(self) -> None:
        self.hosts: dict[str, str] = {}
        self._failures: Counter[str] = Counter()

    def stepped(self, place: Place | None) -> None:
        """Note that a pack has made a new step at this place, if the place is known."""
        if place is not None:
            del self._failures[place.node]

    def failed(self, place: Place) -> str | None:
        """Note that a pack has failed here before a new step, while other nodes work.

        Return a line for the user if the node is used no more from now on.
        """
        self._failures[place.node] += 1
        if self._failures[place.node] < LIKE or place.node in self.hosts:
            return None
        self.hosts[place.node] = place.host
        return (
            f"{LIKE} packs in a row failed on {place.host} before a step, while other nodes are at work: this sweep "
            f"starts no trainer on {place.host} any more. `python jobs/doctor.py` looks at every node"
        )

    def at_fault(self, place: Place) -> bool:
        """Return whether the node is used no more."""
        return place.node in self.hosts

    @property
    def words(self) -> str:
        """The nodes that are used no more, as the end of a sentence about the cluster; empty if there are none."""
        return f"; not used, because packs failed there: {', '.join(sorted(self.hosts.values()))}" if self.hosts else ""
