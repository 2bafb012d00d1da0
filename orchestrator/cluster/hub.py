"""The hub, a Ray actor: trials bring their packs, trainers take them, and trainers are started while packs are left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from orchestrator.cluster.assignments import Assignments, End
from orchestrator.errors import PackError

# The hub and the trials only wait. They take no CPU from trainers (0.01 of one would keep the last worker of a full
# machine waiting) but a sliver of the head node, which is never a preemptible one.
HEAD = {"node:__internal_head__": 0.0001}
STARTS = 3  # trainers in a row that ended before they took a pack: something is wrong with starting them
PLACEMENTS = 15  # minutes without room for a trainer: a lost node may come back


@dataclass
class Hub:
    """Packs by name, in the order in which they are taken. They stay pickled: only trainers import what they need.

    ``fit`` runs the trainer of a name to its end; it blocks, and is called in a thread for each slot.
    """

    packs: Mapping[str, bytes]
    ranks: int
    fit: Callable[[str], End]
    assignments: Assignments = field(init=False)
    changed: asyncio.Condition = field(init=False)

    def __post_init__(self) -> None:
        self.assignments, self.changed = Assignments(list(self.packs), self.ranks), asyncio.Condition()

    async def run(self, slots: int) -> None:
        """Keep this many trainers at work until no pack is left; if none can be kept, the packs left fail."""
        error = "The hub has ended."
        try:
            with ThreadPoolExecutor(slots) as threads:
                errors = await asyncio.gather(*(self._keep(slot, threads) for slot in range(slots)))
            error = next((one for one in errors if one), error)
        finally:
            async with self.changed:
                self.assignments.close(error)
                self.changed.notify_all()

    async def train(self, pack: str) -> str:
        """Offer the pack, wait for its end, and return its error, or nothing."""
        async with self.changed:
            self.assignments.offer(pack)
            self.changed.notify_all()
            await self.changed.wait_for(lambda: self.assignments.ended(pack))
            return self.assignments.error(pack)

    async def take(self, trainer: str, rank: int) -> bytes | None:
        """Return the next pack of a trainer, to all of its ranks the same; None says that nothing is left."""
        async with self.changed:
            turn = self.assignments.ask(trainer, rank)
            self.changed.notify_all()
            await self.changed.wait_for(lambda: self.assignments.dealt(trainer, turn))
            pack = self.assignments.turn(trainer, turn)
            return None if pack is None else self.packs[pack]

    async def report(self, trainer: str, rank: int, error: str) -> None:
        """Keep what a rank raised."""
        self.assignments.report(trainer, rank, error)

    async def _keep(self, slot: int, threads: ThreadPoolExecutor) -> str:
        """Start trainer after trainer while packs are left; return why if that has no sense any more."""
        vain = unplaced = 0
        for start in count():
            name = f"slot{slot}-{start}"  # Train would resume a finished run of the same name, and train nothing
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
    """Wait for one pack at the hub: what Tune schedules."""
    import ray
    from ray import tune

    pack = config["pack"]
    error = ray.get(ray.get_actor(config["hub"]).train.remote(pack["name"]))
    if error:
        raise PackError(error)
    tune.report({"pack": pack["name"], "runs": pack["runs"]})
