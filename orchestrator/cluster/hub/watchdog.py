"""Pure: when a trainer counts as hung, from its beats and its optimizer steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

SILENT = 30.0  # seconds without a beat after which a rank that has made steps counts as hung
TIMES = 20  # a step may take so many times the median of its trainer's earlier steps
MOVING = 10  # and so many times longer while a rank still moves, as it does while it scores or merges
STARTING = 10  # before its first pack a trainer has so many times the floor: it imports and connects its ranks
RECENT = 50  # so many steps are in the median


Phase = Literal["starting", "working", "done"]
"""What a trainer is at: it has taken no pack yet, it has a pack, or it gets no further pack."""


@dataclass(frozen=True)
class Hang:
    """Why a trainer counts as hung, the rank at fault, and whether that rank still answers."""

    rank: int
    why: str
    answers: bool


@dataclass
class _Rank:
    heard: float
    moved: float


@dataclass
class _Trainer:
    since: float
    ranks: dict[int, _Rank] = field(default_factory=dict)
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    steps: dict[str, int] = field(default_factory=dict)
    stepped: bool = False


class Watchdog:
    """Decides which trainers hang. Times are seconds of one monotonic clock; ``floor`` is ``cluster.hang_seconds``.

    A rank hangs without an answer if no beat of it has come for SILENT seconds (before its pack's first step: for
    ``floor`` seconds, because loading a base may keep all threads of a process waiting).

    A trainer hangs without progress if it has a pack, and for max(``floor``, TIMES x the median of its own steps) none
    of its runs has made a step and none of its ranks has moved. A rank moves if its training thread is at another
    place of the code than at the last beat. Loading, scoring, diagnosing and merging make no steps, but move from batch
    to batch, so they may take MOVING times as long. A rank that waits in a collective, in a call of CUDA or for a
    file does not move.

    A trainer hangs before its start if it has taken no pack STARTING x ``floor`` seconds after its first beat.

    The rank at fault is never a rank that asks for the next pack, because such a rank waits for the other ranks.
    """

    def __init__(self, floor: float) -> None:
        self.floor = floor
        self._trainers: dict[str, _Trainer] = {}

    def heard(self, name: str, rank: int, now: float, still: float = 0.0) -> None:
        """Note a beat of a rank, whose training thread has not moved for ``still`` seconds."""
        trainer = self._trainers.setdefault(name, _Trainer(now))
        trainer.ranks[rank] = _Rank(now, now - still)

    def took(self, name: str, now: float) -> None:
        """Note that the trainer has taken a pack."""
        if trainer := self._trainers.get(name):
            trainer.since, trainer.steps, trainer.stepped = now, {}, False

    def stepped(self, name: str, steps: Mapping[str, int], now: float) -> None:
        """Note how many steps the trainer's runs have done, by run key."""
        trainer = self._trainers.get(name)
        if trainer is None:
            return
        before = trainer.steps
        done = max((count - before[key] for key, count in steps.items() if key in before), default=0)
        if done > 0 or steps.keys() - before.keys():
            if done > 0 and trainer.stepped:
                trainer.seconds.append((now - trainer.since) / done)
            trainer.since, trainer.stepped = now, True
        trainer.steps = {**before, **steps}

    def gone(self, name: str) -> None:
        """Forget a trainer that has ended."""
        self._trainers.pop(name, None)

    def forgive(self, seconds: float) -> None:
        """Move all times by ``seconds`` in which the hub itself could not listen, so that nobody is blamed for them."""
        for trainer in self._trainers.values():
            trainer.since += seconds
            for rank in trainer.ranks.values():
                rank.heard, rank.moved = rank.heard + seconds, rank.moved + seconds

    def hang_of(self, name: str, now: float, phase: Phase, asking: Collection[int] = ()) -> Hang | None:
        """Return why the trainer hangs, or None; ``asking`` are the ranks that wait for their next pack."""
        trainer = self._trainers.get(name)
        if trainer is None:
            return None
        silence = min(SILENT, self.floor) if trainer.stepped else self.floor
        silent = min(trainer.ranks, key=lambda rank: trainer.ranks[rank].heard)
        quiet = now - trainer.ranks[silent].heard
        if quiet > silence:
            return Hang(silent, f"has not answered for {quiet:.0f} s", answers=False)
        why = {"starting": self._late_start, "working": self._no_step, "done": lambda *_: None}[phase](trainer, now)
        if why is None:
            return None
        at_fault = [rank for rank in trainer.ranks if rank not in asking] or list(trainer.ranks)
        return Hang(min(at_fault, key=lambda rank: trainer.ranks[rank].moved), why, answers=True)

    def _late_start(self, trainer: _Trainer, now: float) -> str | None:
        limit, waited = STARTING * self.floor, now - trainer.since
        return f"has taken no pack for {waited:.0f} s (the limit is {limit:.0f} s)" if waited > limit else None

    def _no_step(self, trainer: _Trainer, now: float) -> str | None:
        limit = max(self.floor, TIMES * median(trainer.seconds)) if trainer.seconds else self.floor
        waited = now - trainer.since
        still = now - max(rank.moved for rank in trainer.ranks.values())
        if waited <= limit or (still <= limit and waited <= MOVING * limit):
            return None
        return f"has made no optimizer step for {waited:.0f} s (the limit is {limit:.0f} s)"
