"""Which trainer has which pack: the bookkeeping of the hub (the actor that hands packs to trainers), without Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.cluster.hub.patience import Patience

Sort = Literal["well", "raised", "lost", "stopped", "unplaced"]
"""How a trainer ended, or why a rank raised.

raised: a rank raised an error of its own. lost: a process or a node went away, or a rank lost its neighbour. stopped:
the trainer was told to stop and has saved its runs. unplaced: the trainer never got room on a node.
"""


@dataclass(frozen=True)
class End:
    """How a trainer ended, as the code that ran it sees it.

    ``failures`` are the errors of its ranks, by rank. ``node_gone`` is whether a node has died or was taken away.
    """

    error: str = ""
    failures: Mapping[int, str] = field(default_factory=dict)
    sort: Sort = "well"
    node_gone: bool = False


@dataclass(frozen=True)
class Left:
    """What the end of a trainer did: its ``pack`` (None if the trainer held none) failed, or was put back.

    ``worked`` is whether the trainer had ever taken a pack.
    """

    worked: bool
    sort: Sort
    reason: str
    pack: str | None = None
    put_back: bool = False


@dataclass
class _Trainer:
    """The ranks of one trainer, which are always in the same pack.

    ``turns[i]`` is the pack that all ranks got when they asked for the i-th time. None, always the last, ends the
    trainer. ``asking`` are the ranks that have asked for the next turn, ``reports`` the errors that ranks have raised.
    """

    turns: list[str | None] = field(default_factory=list)
    asking: set[int] = field(default_factory=set)
    reports: dict[int, tuple[str, Sort]] = field(default_factory=dict)
    gone: bool = False
    stopping: bool = False


class Assignments:
    """Packs in the order in which trainers take them. Each pack is taken by one trainer at a time, and ends once.

    A trainer has ``ranks`` ranks. All ranks of a trainer ask for the next pack before any rank gets an answer, and a
    rank asks only when its previous pack is done. So the ranks of a trainer are never in different packs, and the pack
    of a lost trainer is known.
    """

    def __init__(self, order: Sequence[str], ranks: int, more_to_come: bool = False) -> None:
        """``more_to_come`` is whether a trainer that finds no pack waits for packs that are added later."""
        self._left, self._ranks, self._more_to_come = list(order), ranks, more_to_come
        self._ended: dict[str, str] = {}
        self._fresh: list[str] = []
        self._trainers: dict[str, _Trainer] = {}
        self._patience = {pack: Patience() for pack in order}
        self._steps = dict.fromkeys(order, 0)
        self._closed: str | None = None
        self.surplus = 0  # so many trainers end when they next ask, although packs wait

    def add(self, packs: Sequence[str]) -> None:
        """Take more packs, each with a new name; trainers that wait for packs get these at once."""
        self._closed = None
        self._left += packs
        self._patience |= {pack: Patience() for pack in packs}
        self._steps |= dict.fromkeys(packs, 0)
        self._decide_turns()

    @property
    def open(self) -> bool:
        """Whether there are packs that wait for a trainer."""
        return self.waiting > 0

    @property
    def waiting(self) -> int:
        """How many packs wait for a trainer."""
        return len(self._left) if self._closed is None else 0

    @property
    def all_ended(self) -> bool:
        """Whether every pack has ended."""
        return len(self._ended) == len(self._patience)

    @property
    def closed(self) -> bool:
        """Whether trainers get no packs any more."""
        return self._closed is not None

    def ask(self, name: str, rank: int) -> int:
        """Note that a rank of the trainer ``name`` asks for its next pack; return the number of the next turn."""
        trainer = self._trainer(name)
        trainer.asking.add(rank)
        turn = len(trainer.turns)
        self._decide_turns()
        return turn

    def decided(self, name: str, turn: int) -> bool:
        """Return whether the pack that the trainer gets in this turn is decided."""
        trainer = self._trainer(name)
        return trainer.gone or turn < len(trainer.turns)

    def pack_of_turn(self, name: str, turn: int) -> str | None:
        """Return the pack that the trainer gets in a decided turn; None ends the trainer."""
        trainer = self._trainer(name)
        return None if trainer.gone else trainer.turns[turn]

    def held(self, name: str) -> str | None:
        """Return the pack that the trainer has taken and not done."""
        trainer = self._trainer(name)
        pack = trainer.turns[-1] if trainer.turns else None
        return pack if pack is not None and pack not in self._ended and not trainer.gone else None

    def started(self, name: str) -> bool:
        """Return whether the trainer has ever got an answer: a pack, or that none is left."""
        return bool(self._trainer(name).turns)

    def asking(self, name: str) -> frozenset[int]:
        """Return the ranks that have asked for their next pack, and wait for the other ranks to ask."""
        return frozenset(self._trainer(name).asking)

    def idle(self, name: str) -> bool:
        """Return whether all ranks of the trainer wait for a pack, and no pack is left."""
        trainer = self._trainers.get(name)
        return trainer is not None and not trainer.gone and len(trainer.asking) == self._ranks

    def gone(self, name: str) -> bool:
        """Return whether the trainer has left."""
        return self._trainer(name).gone

    def leaving(self, name: str) -> bool:
        """Return whether the trainer gets no further pack."""
        turns = self._trainer(name).turns
        return bool(turns) and turns[-1] is None

    def stop(self, name: str) -> None:
        """Let the trainer get no further pack; a trainer that waits for a pack ends now."""
        self._trainer(name).stopping = True
        self._decide_turns()

    def expect_no_more(self) -> None:
        """Let every trainer that finds no pack end."""
        self._more_to_come = False
        self._decide_turns()

    def stopping(self, name: str) -> bool:
        """Return whether the trainer was told to stop."""
        return self._trainer(name).stopping

    def progress(self, pack: str, steps: int) -> None:
        """Note how many optimizer steps the runs of a pack have done in all, whichever trainer did them."""
        self._steps[pack] = max(self._steps[pack], steps)

    def steps(self, pack: str) -> int:
        """Return the most optimizer steps that the runs of the pack have ever done in all."""
        return self._steps[pack]

    def report(self, name: str, rank: int, error: str, sort: Sort = "raised") -> None:
        """Keep the error that a rank has raised until its trainer has left, because other ranks may fail too."""
        self._trainer(name).reports[rank] = (error, sort)

    def leave(self, name: str, end: End, verdict: str = "") -> Left:
        """Note that the trainer has ended, and say what becomes of the pack that it had taken and not done.

        The pack fails if a rank raised an error of its own. If the trainer was lost or told to stop, the pack is put
        back before all other packs, until its `Patience` is over. ``verdict`` is why the hub ended the trainer itself,
        which makes the trainer a lost one.
        """
        trainer, pack = self._trainer(name), self.held(name)
        sort = "lost" if verdict else _sort(trainer, end)
        reason = verdict or _failure(trainer, end)
        trainer.gone = True
        worked = any(taken is not None for taken in trainer.turns)
        put_back = pack is not None and self._may_come_back(pack, sort)
        if pack is not None and put_back:
            self._left.insert(0, pack)
        elif pack is not None:
            counted = sort != "raised" and not self.closed
            times = self._patience[pack].words(sort == "stopped") if counted else ""
            self._end(pack, "\n".join(filter(None, (reason, times))))
        self._decide_turns()
        return Left(worked, sort, reason, pack, put_back)

    def close(self, error: str) -> None:
        """Give out no more packs, and fail the packs that wait; packs in the hands of trainers go on."""
        if self._closed is None:
            self._closed = error
        for pack in self._left:
            self._end(pack, self._closed)
        self._left.clear()
        self._decide_turns()

    def give_up(self, error: str) -> None:
        """Fail every pack that has not ended: no trainer is at work any more."""
        self.close(error)
        for pack in self._patience:
            self._end(pack, error)

    def newly_ended(self) -> list[str]:
        """Return the packs that have ended since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def ended(self, pack: str) -> bool:
        """Return whether the pack has ended."""
        return pack in self._ended

    def error(self, pack: str) -> str:
        """Return the error of a pack that has ended; empty if it ended well."""
        return self._ended[pack]

    def _trainer(self, name: str) -> _Trainer:
        return self._trainers.setdefault(name, _Trainer())

    def _end(self, pack: str, error: str) -> None:
        """Note the end of a pack, unless it has ended before."""
        if pack not in self._ended:
            self._ended[pack] = error
            self._fresh.append(pack)

    def _decide_turns(self) -> None:
        """Decide the next turn of every trainer whose ranks all ask; a trainer may have to wait for more packs."""
        for name, trainer in self._trainers.items():
            if trainer.gone or len(trainer.asking) < self._ranks:
                continue
            done = self.held(name)
            if done is not None:
                self._end(done, "")
            surplus = self.surplus > 0 and self.open
            self.surplus -= surplus
            leaves = trainer.stopping or self.closed or surplus
            if not (self.open or leaves) and self._more_to_come:
                continue
            trainer.turns.append(None if leaves or not self.open else self._left.pop(0))
            trainer.asking.clear()

    def _may_come_back(self, pack: str, sort: Sort) -> bool:
        """Count one more return of the pack, and return whether it may be trained again."""
        if sort == "raised" or self.closed:
            return False
        return self._patience[pack].may_come_back(sort == "stopped", self._steps[pack])


def _sort(trainer: _Trainer, end: End) -> Sort:
    """Return how a trainer ended: a rank's own error counts more than a rank that died, and that more than a stop.

    A rank that loses its neighbour raises too, and reports so as "lost"; the neighbour may have died, or stopped first.
    """
    sorts = {sort for _, sort in trainer.reports.values()}
    if not sorts:
        return end.sort if end.sort != "well" else "lost"
    died = any(rank not in trainer.reports for rank in end.failures)
    if "raised" in sorts:
        return "raised"
    return "lost" if died or "stopped" not in sorts else "stopped"


def _failure(trainer: _Trainer, end: End) -> str:
    """Return all that is known of a failure; the likely cause comes last, where a reader looks first.

    The likely cause is a rank that died without a report. If each failed rank has reported, it is the rank that
    reported first: the other ranks then lost their connection to that rank.
    """
    silent = [text for rank, text in end.failures.items() if rank not in trainer.reports]
    reported = [text for text, _ in reversed(trainer.reports.values())]
    return "\n".join([*reported, *silent]) or end.error or "The trainer ended without a result."
