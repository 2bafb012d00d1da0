"""A thread that works in turns: whoever asks for a turn waits for its end, but not while nothing moves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from threading import Condition, Thread

LOOK_SECONDS = 0.5  # between two looks at whether something has moved


class Courier:
    """Calls ``work``, which never raises, in a daemon thread: at least once after each `ask`, and never twice at once.

    ``moves`` returns a number that grows while ``work`` gets on. The thread ends when no turn is asked for.
    """

    def __init__(self, work: Callable[[], None], moves: Callable[[], int]) -> None:
        self._work, self._moves = work, moves
        self._changed = Condition()
        self._asked = self._begun = self._ended = 0
        self._alive = False
        self._seen, self._moved = 0, 0.0  # the last number of moves that was seen, and when it was new

    def ask(self) -> int:
        """Ask for a turn, and return its number; turns that are asked for during a turn are one turn after it."""
        with self._changed:
            self._asked += 1
            if not self._alive:
                self._alive, self._moved = True, time.monotonic()
                Thread(target=self._run, name="courier", daemon=True).start()
            return self._asked

    def wait(self, turn: int, quiet: float, most: float = math.inf) -> bool:
        """Wait for the end of a turn; return False after ``quiet`` seconds without a move or ``most`` seconds in all.

        The quiet seconds count from the last move, whoever waited then: of many callers behind one request that hangs
        only the first waits.
        """
        until = time.monotonic() + most
        with self._changed:
            while self._ended < turn:
                now, moves = time.monotonic(), self._moves()
                if moves != self._seen:
                    self._seen, self._moved = moves, now
                left = min(until, self._moved + quiet) - now
                if left <= 0:
                    return False
                self._changed.wait(min(left, LOOK_SECONDS))
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._begun == self._asked:
                    self._alive = False
                    return
                turn = self._begun = self._asked
                self._moved = time.monotonic()
            try:
                self._work()
            except BaseException:  # a fault of the work: the thread ends, and the next `ask` starts another
                self._end(turn, alive=False)
                raise
            self._end(turn, alive=True)

    def _end(self, turn: int, alive: bool) -> None:
        with self._changed:
            self._ended, self._alive = turn, alive
            self._changed.notify_all()
