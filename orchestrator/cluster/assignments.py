"""Which trainer has which pack: the bookkeeping of the hub (the actor that hands packs to trainers), without Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class End:
    """How a trainer ended.

    ``error`` is empty if the trainer ended well. ``failures`` has, by rank, the errors of the ranks that Ray Train says
    have failed. If the trainer lost its node (``preempted``) or never got a node (``unplaced``), its pack is not at
    fault.
    """

    error: str = ""
    failures: Mapping[int, str] = field(default_factory=dict)
    preempted: bool = False
    unplaced: bool = False


@dataclass
class _Trainer:
    """The ranks of one trainer, which are always in the same pack.

    ``turns[i]`` is the pack that all ranks got when they asked for the i-th time. None, always the last, ends the
    trainer. ``asking`` are the ranks that have asked for the next turn, ``reports`` the errors that ranks have raised.
    """

    turns: list[str | None] = field(default_factory=list)
    asking: set[int] = field(default_factory=set)
    reports: dict[int, str] = field(default_factory=dict)
    gone: bool = False


class Assignments:
    """Packs in the order in which trainers take them. Each pack is offered, taken by one trainer, and ends once.

    A trainer has ``ranks`` ranks. All ranks of a trainer ask for the next pack before any rank gets an answer, and a
    rank asks only when its previous pack is done. So the ranks of a trainer are never in different packs, and the pack
    of a lost trainer is known.
    """

    def __init__(self, order: Sequence[str], ranks: int) -> None:
        self._left, self._ranks = list(order), ranks
        self._offered: set[str] = set()
        self._ended: dict[str, str] = {}
        self._trainers: dict[str, _Trainer] = {}
        self._closed: str | None = None

    @property
    def open(self) -> bool:
        """Whether there are packs that no trainer has taken, offered already or not."""
        return bool(self._left) and self._closed is None

    def offer(self, pack: str) -> None:
        """Let trainers take the pack."""
        self._offered.add(pack)
        if self._closed is not None:
            self._ended.setdefault(pack, self._closed)
        self._decide_turns()

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

    def report(self, name: str, rank: int, error: str) -> None:
        """Keep the error that a rank has raised until its trainer has left, because other ranks may fail too."""
        self._trainer(name).reports[rank] = error

    def leave(self, name: str, end: End) -> bool:
        """Note that the trainer has ended, and return whether the trainer had ever taken a pack.

        The pack that the trainer had taken and not done fails. If the trainer was preempted, this pack is put back
        before all other packs instead.
        """
        trainer = self._trainer(name)
        pack = self._in_hands(trainer)
        trainer.gone = True
        if pack is not None:
            if end.preempted and self._closed is None:
                self._left.insert(0, pack)
            else:
                self._ended.setdefault(pack, _failure(trainer, end))
        self._decide_turns()
        return any(taken is not None for taken in trainer.turns)

    def close(self, error: str) -> None:
        """Fail every pack that has not ended, and each pack that is offered from now on."""
        self._closed = error
        for pack in self._offered:
            self._ended.setdefault(pack, error)
        self._decide_turns()

    def ended(self, pack: str) -> bool:
        """Return whether the pack has ended."""
        return pack in self._ended

    def error(self, pack: str) -> str:
        """Return the error of a pack that has ended; empty if it ended well."""
        return self._ended[pack]

    def _trainer(self, name: str) -> _Trainer:
        return self._trainers.setdefault(name, _Trainer())

    def _decide_turns(self) -> None:
        """Decide the next turn of every trainer whose ranks all ask, unless packs are still to be offered."""
        for trainer in self._trainers.values():
            if trainer.gone or len(trainer.asking) < self._ranks:
                continue
            done = self._in_hands(trainer)
            if done is not None:
                self._ended.setdefault(done, "")
            pack = next((pack for pack in self._left if pack in self._offered), None)
            if pack is not None and self.open:
                self._left.remove(pack)
            elif self.open:
                continue  # a pack is still to be offered
            trainer.turns.append(pack if pack is not None and self._closed is None else None)
            trainer.asking.clear()

    def _in_hands(self, trainer: _Trainer) -> str | None:
        """Return the pack that the trainer has taken and not done."""
        pack = trainer.turns[-1] if trainer.turns else None
        return pack if pack is not None and pack not in self._ended and not trainer.gone else None


def _failure(trainer: _Trainer, end: End) -> str:
    """Return all that is known of a failure; the likely cause comes last, where a reader looks first.

    The likely cause is a rank that died without a report. If each failed rank has reported, it is the rank that
    reported first: the other ranks then lost their connection to that rank.
    """
    silent = [text for rank, text in end.failures.items() if rank not in trainer.reports]
    reported = reversed(trainer.reports.values())
    return "\n".join([*reported, *silent]) or end.error or "The trainer ended without a result."
