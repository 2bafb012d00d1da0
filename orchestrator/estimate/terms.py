"""What the user of a plan says about machines and money, and what follows for the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.estimate.simulate import Fleet
from orchestrator.prices.table import Accelerator, Price

GIB = 2**30
CONTEXT_BYTES = GIB // 2
"""What a process on a GPU takes of its memory before the first tensor (CUDA's context), roughly."""


@dataclass(frozen=True)
class Terms:
    """The accelerator of a worker, its price, the most that the sweep may cost, and the nodes to simulate.

    ``gpu`` is the accelerator's name in the price table, ``accelerator`` its line, ``share`` the part of a GPU that a
    worker has.
    """

    gpu: str | None = None
    accelerator: Accelerator | None = None
    spot: bool = False
    price: Price | None = None
    budget_usd: float | None = None
    fleet: Fleet | None = None
    share: float = 1


@dataclass(frozen=True)
class Money:
    """What an hour of a worker costs, in USD, what the ended runs have cost, and what a budget still pays for.

    ``price`` says where the price is from. ``runs_paid`` is how many of the runs that are left the rest of the budget
    pays for, in the order in which packs are trained; None without a budget or a price.
    """

    price_usd: float | None
    price: str
    spent_usd: float | None
    budget_usd: float | None
    runs_paid: int | None


@dataclass(frozen=True)
class Machine:
    """The accelerator that was named, and whether the largest pack fits into its memory; None if none was named.

    ``share`` is the part of a GPU that a worker has, ``memory`` are the bytes of that part.
    """

    gpu: str | None
    memory: int | None
    fits: bool | None
    share: float = 1


def machine_of(terms: Terms, need: int | None) -> Machine:
    """Return the machine; ``need`` are the bytes that the largest pack needs on it, beside `CONTEXT_BYTES`."""
    gib = terms.accelerator.memory_gib if terms.accelerator else None
    memory = None if gib is None else round(terms.share * gib * GIB)
    fits = None if memory is None or need is None else need + CONTEXT_BYTES <= memory
    return Machine(terms.gpu, memory, fits, terms.share)


def money_of(terms: Terms, price: float | None, spent_seconds: float, packs: Sequence[tuple[int, float]]) -> Money:
    """Return the money of a plan; ``packs`` are the runs and the worker-seconds of each pack that is left, in order."""
    said = str(terms.price) if terms.price else ("--price" if price is not None else "")
    if price is None:
        return Money(None, "", None, terms.budget_usd, None)
    spent = spent_seconds / 3600 * price
    if terms.budget_usd is None:
        return Money(price, said, spent, None, None)
    left, paid = terms.budget_usd - spent, 0
    for runs, seconds in packs:
        left -= seconds / 3600 * price
        if left < 0:
            break
        paid += runs
    return Money(price, said, spent, terms.budget_usd, paid)
