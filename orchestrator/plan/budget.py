"""Pure: which packs a budget still pays for, given what the sweep has cost so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LEFT_OUT = "left out, because"
"""The first words of the error of a run that the budget does not pay for."""
CAUTION = 0.5
"""The share of what is left that packs may be expected to cost before the expectation is measured again."""


@dataclass(frozen=True)
class Budget:
    """The most that a sweep may cost, ``usd``, and the price of one worker's hour, both in USD."""

    usd: float
    price: float

    def cost(self, worker_seconds: float) -> float:
        """Return what so many seconds of one worker cost, in USD."""
        return worker_seconds / 3600 * self.price

    def affordable(self, spent: float, packs: Sequence[float] | None, trainers: int) -> int:
        """Return how many of the next packs may begin now, in their order, before the costs are looked at again.

        ``spent`` are the worker-seconds that the sweep has cost, ``packs`` the worker-seconds that the packs are
        expected to cost. None: nothing has been measured, so one pack per trainer begins, if any money is left. If all
        packs fit into what is left with some room, all begin; else those that are expected to take half of it, but one
        pack per trainer where those fit.
        """
        left = self.usd - self.cost(spent)
        if left <= 0:
            return 0
        if packs is None:
            return trainers
        costs = [self.cost(seconds) for seconds in packs]
        if sum(costs) <= (1 - CAUTION / 2) * left:
            return len(costs)
        return max(_within(costs, CAUTION * left), min(trainers, _within(costs, left)))

    def reason(self, spent: float) -> str:
        """Return why runs are left out, as the error of these runs."""
        return (
            f"{LEFT_OUT} budget_usd={self.usd:g} would be exceeded: {self.cost(spent):.2f} USD are spent; the same "
            "command with a higher budget_usd goes on"
        )


def left_out(errors: Iterable[str]) -> bool:
    """Return whether one of these errors says that a budget does not pay for a run."""
    return any(error.startswith(LEFT_OUT) for error in errors)


def _within(costs: Sequence[float], most: float) -> int:
    """Return how many of the first costs add up to ``most`` at most."""
    total = 0.0
    for number, cost in enumerate(costs):
        total += cost
        if total > most:
            return number
    return len(costs)
