"""Who has which pack: what the hub knows, without Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class End:
    """How a trainer ended: ``error`` is empty when it did well, ``failures`` has the ranks that Train says failed.

    One that lost its node (``preempted``) or never got one (``unplaced``) says nothing about its pack.
    """

    error: str = ""
    failures: Mapping[int, str] = field(default_factory=dict)
    preempted: bool = False
    unplaced: bool = False


@dataclass
class _Trainer:
    """Ranks that move together: ``turns`` is what each turn was, the last of them nothing."""

    turns: list[str | None] = field(default_factory=list)
    asking: set[int] = field(default_factory=set)
    reports: dict[int, str] = field(default_factory=dict)
    gone: bool = False


class Assignments:
    """Packs in the order in which they are to be taken. Each is offered, taken by one trainer, and ends once.

    A trainer is ``ranks`` processes. All of them ask before any gets an answer, and asking says that the pack before is
    done, so the ranks of a trainer are never in different packs, and what a lost trainer was at is known.
    """

    def __init__(self, order: Sequence[str], ranks: int) -> None:
        self._left, self._ranks = list(order), ranks
        self._offered: set[str] = set()
        self._ended: dict[str, str] = {}
        self._trainers: dict[str, _Trainer] = {}
        self._closed: str | None = None

    @property
    def open(self) -> bool:
        """Whether there are packs that no trainer has taken, offered or still to come."""
        return bool(self._left) and self._closed is None

    def offer(self, pack: str) -> None:
        """Let trainers take the pack."""
        self._offered.add(pack)
        if self._closed is not None:
            self._ended.setdefault(pack, self._closed)
        self._deal()

    def ask(self, trainer: str, rank: int) -> int:
        """Note that a rank has done all that it was given; return which turn it asks for."""
        it = self._trainer(trainer)
        it.asking.add(rank)
        turn = len(it.turns)
        self._deal()
        return turn

    def dealt(self, trainer: str, turn: int) -> bool:
        """Tell whether the turn is decided."""
        it = self._trainer(trainer)
        return it.gone or turn < len(it.turns)

    def turn(self, trainer: str, turn: int) -> str | None:
        """Return the pack of a turn that is decided; None ends the trainer."""
        it = self._trainer(trainer)
        return None if it.gone else it.turns[turn]

    def report(self, trainer: str, rank: int, error: str) -> None:
        """Keep what a rank raised until its trainer has gone: others may have more to say."""
        self._trainer(trainer).reports[rank] = error

    def leave(self, trainer: str, end: End) -> bool:
        """Take leave of a trainer and tell whether it had taken a pack; the one in its hands fails.

        A preempted trainer puts it back instead.
        """
        it = self._trainer(trainer)
        pack = self._in_hands(it)
        it.gone = True
        if pack is not None:
            if end.preempted and self._closed is None:
                self._left.insert(0, pack)
            else:
                self._ended.setdefault(pack, _told(it, end))
        self._deal()
        return any(turn is not None for turn in it.turns)

    def close(self, error: str) -> None:
        """Fail every pack that has not ended, and each that is offered from now on."""
        self._closed = error
        for pack in self._offered:
            self._ended.setdefault(pack, error)
        self._deal()

    def ended(self, pack: str) -> bool:
        """Tell whether the pack has ended."""
        return pack in self._ended

    def error(self, pack: str) -> str:
        """Return what went wrong with a pack that has ended, or nothing."""
        return self._ended[pack]

    def _trainer(self, name: str) -> _Trainer:
        return self._trainers.setdefault(name, _Trainer())

    def _deal(self) -> None:
        """Decide the next turn of every trainer whose ranks all ask, if it can be decided."""
        for it in self._trainers.values():
            if it.gone or len(it.asking) < self._ranks:
                continue
            done = self._in_hands(it)
            if done is not None:
                self._ended.setdefault(done, "")
            pack = next((pack for pack in self._left if pack in self._offered), None)
            if pack is not None and self.open:
                self._left.remove(pack)
            elif self.open:
                continue  # a pack is still to be offered
            it.turns.append(pack if pack is not None and self._closed is None else None)
            it.asking.clear()

    def _in_hands(self, it: _Trainer) -> str | None:
        pack = it.turns[-1] if it.turns else None
        return pack if pack is not None and pack not in self._ended and not it.gone else None


def _told(it: _Trainer, end: End) -> str:
    """Return all that is known of a failure; the likely cause comes last, where a reader looks first.

    That is a rank that died without a word, else the first that raised: its neighbours lost their connection to it.
    """
    silent = [text for rank, text in end.failures.items() if rank not in it.reports]
    return "\n".join([*reversed(it.reports.values()), *silent]) or end.error or "The trainer ended without a result."
