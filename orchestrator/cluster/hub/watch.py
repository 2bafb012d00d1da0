"""The watch of a hub: it ends trainers that hang, and stops trainers whose node is about to go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from orchestrator.cluster.hub.assignments import End
from orchestrator.cluster.hub.hub import Hub, now
from orchestrator.cluster.hub.messages import Beat, Place
from orchestrator.cluster.hub.nodes import draining_nodes, end_actors, end_process, stack_of
from orchestrator.cluster.hub.watchdog import Hang, Watchdog

LOOK_SECONDS = 1.0
STACK_SECONDS = 5.0  # how long ranks have to send their stacks before their trainer is ended
NO_STACK = "not to be had: the process does not answer, and there is no py-spy that may read it"
SLOW = 5.0  # a look that is so late shows that the hub itself was not running


class HubActor(Hub):
    """The hub as an actor, with its watch."""

    def __init__(
        self,
        packs: Mapping[str, bytes],
        keys: Mapping[str, Sequence[str]],
        ranks: int,
        fit: Callable[[str], End],
        floor: float,
    ) -> None:
        super().__init__(packs, ranks, fit, keys)
        self._watch = Watch(self, floor)

    async def run(self, slots: int) -> None:
        """As `Hub.run`, watched."""
        watching = asyncio.create_task(self._watch.look_on())
        try:
            await super().run(slots)
        finally:
            watching.cancel()


class Watch:
    """Looks at the trainers of a hub every LOOK_SECONDS; ``floor`` is ``cluster.hang_seconds``."""

    def __init__(self, hub: Hub, floor: float) -> None:
        self.hub, self.dog = hub, Watchdog(floor)
        self._packs: dict[str, str | None] = {}
        self._stacks: dict[str, dict[int, str]] = {}
        self._draining: set[str] = set()
        hub.on_beat, hub.on_leave = self._heard, self._gone

    async def look_on(self) -> None:
        """Look until the task is cancelled. An error of one look is said once, and the next look comes all the same."""
        last, told = now(), set[str]()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if (late := now() - last - LOOK_SECONDS) > SLOW:
                self.dog.forgive(late)
            last = now()
            try:
                await self._look()
            except Exception as error:  # of any kind: a watch that ended would leave hung trainers for ever
                if repr(error) not in told:
                    told.add(repr(error))
                    self.hub.say(f"the watch over trainers met an error and goes on: {error!r}")

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        await self._leave_draining(await asyncio.wait_for(loop.run_in_executor(None, draining_nodes), 30))
        for name in list(self.hub.places):
            pack = self.hub.assignments.held(name)
            if pack != self._packs.get(name):
                self._packs[name] = pack
                self.dog.took(name, now())
            hang = self.dog.hang_of(name, now(), pack is not None)
            if hang is not None and name not in self.hub.verdicts:
                await self._end(name, hang)

    async def _leave_draining(self, nodes: set[str]) -> None:
        """Stop the trainers on these nodes, so that they save their runs; their packs are put back."""
        for name, ranks in self.hub.places.items():
            going = [rank for rank, place in ranks.items() if place.node in nodes]
            if going and not self.hub.assignments.stopping(name):
                self.hub.assignments.stop(name)
                self.hub.say(
                    f"Ray takes the node of {name} away ({self.hub.where(name, going[0])}): its runs are saved"
                )

    async def _end(self, name: str, hang: Hang) -> None:
        """Take the stacks of a trainer, end its processes, and leave the reason as the hub's verdict."""
        self._stacks[name] = {}
        self.hub.wanted_stacks.add(name)
        places = dict(self.hub.places[name])
        deadline = now() + STACK_SECONDS
        while now() < deadline and len(self._stacks[name]) < len(places):
            await asyncio.sleep(0.2)
        self.hub.wanted_stacks.discard(name)
        place, in_thread = places[hang.rank], asyncio.get_running_loop().run_in_executor
        stack = self._stacks.pop(name).get(hang.rank) or await in_thread(None, stack_of, place.node, place.pid)
        verdict = f"{name}, {self.hub.where(name, hang.rank)}, {hang.why}; the trainer was ended"
        self.hub.verdicts[name] = f"{stack or NO_STACK}\n{verdict}"
        self.hub.say(f"{verdict}. Its stack was:\n{stack or NO_STACK}", whole=True)
        await in_thread(None, _kill, list(places.values()), None if hang.answers else place)

    def _heard(self, name: str, rank: int, beat: Beat) -> None:
        self.dog.heard(name, rank, now(), beat.still)
        if beat.steps:
            self.dog.stepped(name, beat.steps, now())
        if beat.stack and name in self._stacks:
            self._stacks[name][rank] = beat.stack

    def _gone(self, name: str) -> None:
        self.dog.gone(name)
        self._packs.pop(name, None)


def _kill(places: Iterable[Place], silent: Place | None) -> None:
    """End the processes of ranks: by Ray's own request, and the one that does not answer by SIGKILL too."""
    end_actors(place.actor for place in places)
    if silent is not None:
        end_process(silent.node, silent.pid)
