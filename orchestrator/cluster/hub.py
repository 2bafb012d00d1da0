"""The hub, a Ray actor: Tune's trials offer packs, trainers take them, and the hub starts trainers (ADR 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from orchestrator.cluster.assignments import Assignments, End
from orchestrator.errors import PackError

# The hub and the trials only wait. They reserve no CPU, because even 0.01 CPU would leave no room for the last worker
# of a full machine. They reserve a small part of the head node instead, which is never preemptible.
HEAD = {"node:__internal_head__": 0.0001}
STARTS = 3  # after so many trainers in a row that ended without taking a pack, a slot is given up
PLACEMENTS = (
    15  # as STARTS, for trainers that got no room within a minute each; more, because a lost node may come back
)


@dataclass
class Hub:
    """Packs by name, in the order in which trainers take them, and the trainers that are at work.

    Packs stay pickled here, because only trainers import the modules that a pack needs. ``fit(name)`` runs one trainer
    to its end. The call blocks, so the hub calls ``fit`` in one thread per slot; a slot is room for one trainer.
    """

    packs: Mapping[str, bytes]
    ranks: int
    fit: Callable[[str], End]
    assignments: Assignments = field(init=False)
    changed: asyncio.Condition = field(init=False)

    def __post_init__(self) -> None:
        self.assignments, self.changed = Assignments(list(self.packs), self.ranks), asyncio.Condition()

    async def run(self, slots: int) -> None:
        """Keep ``slots`` trainers at work until no pack is left; remaining packs fail if no trainer can be started."""
        error = "The hub has ended."
        try:
            with ThreadPoolExecutor(slots) as threads:
                errors = await asyncio.gather(*(self._keep(slot, threads) for slot in range(slots)))
            error = next(filter(None, errors), error)
        finally:
            async with self.changed:
                self.assignments.close(error)
                self.changed.notify_all()

    async def train(self, pack: str) -> str:
        """Offer the pack, wait for its end, and return its error; empty if it ended well."""
        async with self.changed:
            self.assignments.offer(pack)
            self.changed.notify_all()
            await self.changed.wait_for(lambda: self.assignments.ended(pack))
            return self.assignments.error(pack)

    async def take(self, trainer: str, rank: int) -> bytes | None:
        """Return the next pack of a trainer, the same on all of its ranks; None if no pack is left."""
        async with self.changed:
            turn = self.assignments.ask(trainer, rank)
            self.changed.notify_all()
            await self.changed.wait_for(lambda: self.assignments.decided(trainer, turn))
            pack = self.assignments.pack_of_turn(trainer, turn)
            return None if pack is None else self.packs[pack]

    async def report(self, trainer: str, rank: int, error: str) -> None:
        """Keep the error that a rank has raised."""
        self.assignments.report(trainer, rank, error)

    async def _keep(self, slot: int, threads: ThreadPoolExecutor) -> str:
        """Start trainer after trainer in one slot while packs are left; return why the slot was given up, or ""."""
        vain = unplaced = 0
        for start in count():
            name = f"slot{slot}-{start}"  # a new name, because Train would resume a finished run
            end = await asyncio.get_running_loop().run_in_executor(threads, self.fit, name)
            async with self.changed:
                worked = self.assignments.leave(name, end)
                self.changed.notify_all()
            if not self.assignments.open:
                break
            vain = 0 if worked else vain + (not end.unplaced)
            unplaced = 0 if worked else unplaced + end.unplaced
            if vain == STARTS or unplaced == PLACEMENTS:
                return f"No trainer could be started, {vain + unplaced} times in a row: {end.error}"
        return ""


def trial(config: dict[str, Any]) -> None:
    """Offer one pack to the hub and wait for its end: the trial that Tune schedules."""
    import ray
    from ray import tune

    pack = config["pack"]
    error = ray.get(ray.get_actor(config["hub"]).train.remote(pack["name"]))
    if error:
        raise PackError(error)
    tune.report({"pack": pack["name"], "runs": pack["runs"]})
