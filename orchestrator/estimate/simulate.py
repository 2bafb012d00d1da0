"""Pure: the product's own schedule on nodes that are reclaimed and replaced, as a simulation of single events."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from orchestrator.errors import InputError

LONGEST = 100  # times as long as without reclaims: nodes are then reclaimed faster than packs end


@dataclass(frozen=True)
class Fleet:
    """The nodes: how many, how many trainers each has room for, and how they come and go.

    ``limit`` is the most trainers that the sweep has at a time, None if nodes alone decide.

    ``reclaims`` are the reclaims that a node meets per hour, on average. A reclaimed node is replaced after
    ``replacement`` seconds. A trainer needs ``start`` seconds before its first pack. ``checkpoint`` are the seconds
    between two checkpoints of a run; 0: none are written.
    """

    nodes: int
    trainers_per_node: int = 1
    reclaims: float = 0.0
    replacement: float = 300.0
    start: float = 20.0
    checkpoint: float = 60.0
    seed: int = 0
    limit: int | None = None

    @property
    def trainers(self) -> int:
        """How many trainers train at the same time while no node is away."""
        room = self.nodes * self.trainers_per_node
        return room if self.limit is None else min(room, self.limit)


@dataclass(frozen=True)
class Simulated:
    """The outcome: hours on the clock, and what they were spent on.

    ``lower_bound`` is the larger of all work shared equally by all trainers and the longest pack: no schedule is
    shorter. ``utilisation`` is the share of work in the trainer-hours that nodes were there; ``lost_hours`` are
    trainer-hours of steps that were trained again, ``node_hours`` those that are paid.
    """

    nodes: int
    trainers: int
    makespan_hours: float
    lower_bound_hours: float
    utilisation: float
    node_hours: float
    lost_hours: float
    reclaims: int


@dataclass
class _Pack:
    """A pack: the seconds of work that it has left, and those since its begin, by which checkpoints are spaced."""

    left: float


@dataclass
class _Node:
    """A node that is there: when it came, and for each busy trainer its pack and when the pack began there."""

    came: float
    number: int
    busy: dict[int, tuple[_Pack, float]] = field(default_factory=dict)


def simulate(packs: Sequence[float], fleet: Fleet) -> Simulated:
    """Return what training these packs takes on this fleet; ``packs`` are their seconds, in any order.

    Packs go to free trainers longest first. A pack of a reclaimed node goes to the next free trainer before all others
    and goes on from its last checkpoint. Equal seeds give equal outcomes. InputError if reclaims let no pack end.
    """
    return _Simulation(packs, fleet).run()


def saved(seconds: float, pause: float) -> float:
    """Return how many of a trainer's ``seconds`` at a pack its last checkpoint keeps.

    The first pause is a twelfth of ``pause``; it doubles up to ``pause`` (`worker.saver`).
    """
    if not pause:
        return 0.0
    last = 0.0
    while last < pause:
        following = last + max(pause / 12, last)
        if following > seconds:
            return last
        last = following
    return last + (seconds - last) // pause * pause


class _Simulation:
    """The state of one simulation; events are (time, order, kind, node, trainer)."""

    def __init__(self, packs: Sequence[float], fleet: Fleet) -> None:
        self._fleet, self._random = fleet, random.Random(fleet.seed)  # noqa: S311 - a simulation
        self._work = sum(packs)
        self._longest = max(packs, default=0.0)
        self._waiting = deque(_Pack(seconds) for seconds in sorted(packs, reverse=True))
        self._open = len(packs)
        self._events: list[tuple[float, int, str, _Node, int]] = []
        self._count = 0
        self._nodes: dict[int, _Node] = {}
        self._free: list[tuple[_Node, int]] = []
        self.node_seconds = self.lost = 0.0
        self.reclaims = 0

    def run(self) -> Simulated:
        """Let events happen until all packs have ended."""
        fleet, now = self._fleet, 0.0
        bound = max(self._work / fleet.trainers, self._longest)
        most = LONGEST * (bound + fleet.start + fleet.replacement)
        for _ in range(fleet.nodes):
            self._come(0.0)
        while self._open:
            now, _, kind, node, trainer = heapq.heappop(self._events)
            if now > most:
                raise InputError(
                    f"Nodes that are reclaimed {fleet.reclaims:g} times per hour let no pack end: give a smaller "
                    "--reclaim-per-hour, fewer runs per pack (cluster.pack), or a shorter engine.checkpoint_seconds."
                )
            getattr(self, f"_{kind}")(now, node, trainer)
            self._assign(now)
        for node in self._nodes.values():
            self.node_seconds += now - node.came
        trainer_seconds = self.node_seconds * fleet.trainers_per_node
        return Simulated(
            nodes=fleet.nodes,
            trainers=fleet.trainers,
            makespan_hours=now / 3600,
            lower_bound_hours=bound / 3600,
            utilisation=self._work / trainer_seconds if trainer_seconds else 0.0,
            node_hours=self.node_seconds / 3600,
            lost_hours=self.lost / 3600,
            reclaims=self.reclaims,
        )

    def _come(self, now: float) -> None:
        """Let a node come, and settle when it will be reclaimed."""
        node = _Node(now, self._count)
        self._nodes[node.number] = node
        for trainer in range(self._fleet.trainers_per_node):
            self._at(now + self._fleet.start, "ready", node, trainer)
        if self._fleet.reclaims:
            self._at(now + 3600 * self._random.expovariate(self._fleet.reclaims), "reclaimed", node, 0)

    def _ready(self, _now: float, node: _Node, trainer: int) -> None:
        if node.number in self._nodes:
            self._free.append((node, trainer))

    def _ended(self, _now: float, node: _Node, trainer: int) -> None:
        if node.number in self._nodes:
            del node.busy[trainer]
            self._open -= 1
            self._free.append((node, trainer))

    def _reclaimed(self, now: float, node: _Node, _trainer: int) -> None:
        """Put the packs of the node back, before all others, and order another node."""
        self.reclaims += 1
        self.node_seconds += now - node.came
        del self._nodes[node.number]
        self._free = [free for free in self._free if free[0] is not node]
        for pack, began in node.busy.values():
            kept = saved(now - began, self._fleet.checkpoint)
            self.lost += now - began - kept
            pack.left -= kept
            self._waiting.appendleft(pack)
        self._at(now + self._fleet.replacement, "replaced", node, 0)

    def _replaced(self, now: float, _node: _Node, _trainer: int) -> None:
        self._come(now)

    def _assign(self, now: float) -> None:
        for node, trainer in self._taken():
            pack = self._waiting.popleft()
            node.busy[trainer] = pack, now
            self._at(now + pack.left, "ended", node, trainer)

    def _taken(self) -> Iterator[tuple[_Node, int]]:
        busy = sum(len(node.busy) for node in self._nodes.values()) if self._fleet.limit else 0
        while self._waiting and self._free and not (self._fleet.limit and busy >= self._fleet.limit):
            busy += 1
            yield self._free.pop(0)

    def _at(self, time: float, kind: str, node: _Node, trainer: int) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, kind, node, trainer))


def trainers_per_node(gpus_per_node: int, workers: int) -> tuple[int, int]:
    """Return how many trainers a node has room for, and how many nodes a trainer takes (1, but for wide trainers)."""
    if workers <= gpus_per_node:
        return gpus_per_node // workers, 1
    return 1, math.ceil(workers / gpus_per_node)
