"""A tracker that may be out of reach: the sweep goes on, and says at the end whether everything has arrived."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from orchestrator.errors import InputError
from orchestrator.plan.runs import PlannedRun
from orchestrator.tracking.courier import Courier
from orchestrator.tracking.failures import lasts, reason_of
from orchestrator.tracking.tracker import Tracker
from orchestrator.wording import count, listed

RUNS, SUMMARY, CONNECTION, INTERRUPT = "runs", "summary", "connection", "interrupt"  # what may be owed
ERROR, CHAMPION = "error of ", "champion of "


@dataclass(frozen=True)
class Patience:
    """How long callers wait for a tracker, in seconds, and how its failures are repeated.

    ``sync`` and ``whole`` limit the time without a move: of a sync, and of the first connection and the last pages, in
    which MLflow is loaded and figures are drawn. ``grace`` is all that an interrupted sweep gives its tracker. After a
    failure that may pass nothing is tried for a pause, which begins with ``pause``, doubles and ends with ``longest``.
    A call that insists is repeated at once, ``tries`` times within ``insisting`` seconds.
    """

    sync: float = 20.0
    whole: float = 60.0
    grace: float = 5.0
    pause: float = 1.0
    longest: float = 60.0
    total: float = 600.0
    tries: int = 3
    insisting: float = 10.0


class PatientTracker:
    """Passes calls on to the tracker ``inner`` in a thread; a failure is printed once, and later calls try again.

    Any thread may call. What could not be sent is owed: the next call sends it too, in its order. ``behind`` is why
    something is owed, or None. Nothing is lost with the process either: the run folders have everything, and the next
    driver sends it. No caller waits behind a request that hangs (`Patience`). A failure that lasts ends the sweep only
    at the first call, which is before training. Later it is printed like any other.
    """

    def __init__(self, inner: Tracker, say: Callable[[str], None], patience: Patience | None = None) -> None:
        self.inner, self.say, self.patience = inner, say, patience or Patience()
        self.behind: str | None = None
        self._error: Exception | None = None  # the cause of ``behind``; None where a request hangs
        self._owed: dict[str, Callable[[], None]] = {}
        self._lock = Lock()  # of ``_owed``
        self._courier = Courier(self._turn, inner.moves)
        self._left: Callable[[], int] = lambda: 0  # how many runs are not shown to their ends
        self._begun: int | None = None  # the turn of `begin`
        self._connected = self._tried = self._insists = self._said = False
        self._pause, self._not_before = 0.0, 0.0

    @property
    def problem(self) -> str | None:
        """A sentence that says what has not arrived, why, and how to send the rest; None if everything has."""
        if self.behind is None:
            return None
        mend = "Waiting does not mend it: correct it, and the" if self._error and lasts(self._error) else "The"
        missing = f" Not shown: {listed(words)}." if (words := self._missing()) else ""
        return f"tracking is behind: {self.behind}{missing} {mend} same command sends the rest."

    def look(self) -> None:
        """Refuse at once an address that waiting does not mend; InputError with the remedy."""
        self.inner.look()

    def begin(self) -> None:
        """Connect in the thread, because to load MLflow takes seconds, in which Ray can start."""
        self._owe(CONNECTION, lambda: None)
        self._begun = self._courier.ask()

    @property
    def connecting(self) -> bool:
        """Whether `begin` was called and no later call has waited for the connection yet."""
        return self._begun is not None and not self._tried

    def connect(self) -> None:
        """Connect, or try again with the next call; InputError if the address itself is wrong.

        Only the first call waits. A later call comes in the middle of training and returns at once.
        """
        if self._tried:
            return
        self._tried = True
        if self._begun is None:
            self.begin()
        self._wait(self._begun or 0, self.patience.whole)
        self._refuse()

    def sync(self, runs: Sequence[PlannedRun], folder: Path, now: bool = False) -> None:
        """Send the new steps and ends of these runs; after a failure not before its pause, unless ``now``."""
        self._left = lambda: self.inner.unshown(runs, folder)
        self._call(RUNS, lambda: self.inner.sync(runs, folder), self.patience.sync, now)

    def fail(self, run: PlannedRun, error: str) -> None:
        """Show a failure."""
        self._call(ERROR + run.key, lambda: self.inner.fail(run, error), self.patience.sync)

    def run_id(self, key: str) -> str | None:
        """Return the tracker's id of the run with this key."""
        return self.inner.run_id(key)

    def summarise(self, summary: Mapping[str, Any], folder: Path, complete: bool) -> None:
        """Put statistics and files on the parents; the last call of a sweep, which insists on all that is owed."""
        self._call(SUMMARY, lambda: self.inner.summarise(summary, folder, complete), self.patience.whole, now=True)

    def register(self, task: str, evaluation: Mapping[str, Any], place: Path, before: Path | None = None) -> None:
        """Register a champion, and the champion ``before`` it."""
        self._call(CHAMPION + task, lambda: self.inner.register(task, evaluation, place, before), self.patience.whole)

    def interrupt(self) -> None:
        """Show as ended what is shown as running, because the sweep is broken off; takes ``grace`` seconds at most."""
        if not self._connected and (self._tried or self._begun is None):
            return  # nothing was shown, or the tracker is out of reach
        with self._lock:
            self._owed = {INTERRUPT: self.inner.interrupt}
        self._tried = self._insists = True
        grace = self.patience.grace
        arrived = self._courier.wait(self._courier.ask(), grace, grace) and self.behind is None
        if self._connected and not arrived:
            self.say("tracking still shows runs as running; the next start ends them or goes on with them.")

    def _call(self, what: str, call: Callable[[], None], quiet: float, now: bool = False) -> None:
        """Owe a call, and wait until it is made, or has failed, or hangs; in the pause after a failure do not try."""
        first, self._tried = not self._tried, True
        self._owe(what, call)
        if time.monotonic() < self._not_before and not (first or now):
            return
        self._insists = self._insists or now
        self._wait(self._courier.ask(), quiet if self._connected else self.patience.whole)
        if first:
            self._refuse()

    def _owe(self, what: str, call: Callable[[], None]) -> None:
        with self._lock:
            self._owed[what] = call

    def _wait(self, turn: int, quiet: float) -> None:
        begin = time.monotonic()
        if not self._courier.wait(turn, quiet, self.patience.total):
            slow = time.monotonic() - begin >= self.patience.total
            reason = f"needs more than {self.patience.total:g} s" if slow else f"has not answered for {quiet:g} s"
            self._fall_behind(f"the tracker {reason}.", None)

    def _refuse(self) -> None:
        if isinstance(self._error, InputError):
            raise self._error

    def _turn(self) -> None:
        """Send what is owed, in the courier's thread; the runs first, because all else belongs to runs."""
        insists, self._insists = self._insists, False
        until = time.monotonic() + self.patience.insisting
        error: Exception | None = None
        for tries in range(self.patience.tries if insists else 1):
            time.sleep(0.1 * 2**tries if tries else 0.0)
            error = self._send_all()
            if error is None or lasts(error) or time.monotonic() > until:
                break
        if error is None:
            self.behind = self._error = None
            self._pause = self._not_before = 0.0
            return
        if not lasts(error):
            self._pause = min(self.patience.longest, 2 * self._pause or self.patience.pause)
            self._not_before = time.monotonic() + self._pause
        self._fall_behind(reason_of(error), error)

    def _send_all(self) -> Exception | None:
        """Make all calls that are owed; return the first error, or None.

        After an error that passes the other calls would fail too. After an error that lasts the call is made again on
        a new connection, because somebody may have deleted a run; then the other calls are made.
        """
        first: Exception | None = None
        with self._lock:
            owed = sorted(self._owed, key=lambda what: what != RUNS)
        for what in owed:
            was_connected = self._connected
            error = self._send(what)
            if error and lasts(error) and was_connected:
                error = self._send(what)
            first = first or error
            if error and not (lasts(error) and self._connected):
                break
        return first

    def _send(self, what: str) -> Exception | None:
        """Connect if need be and make one call that is owed; return its error, or None."""
        renewed = False
        try:
            if not self._connected:
                self.inner.connect()
                self._connected = renewed = True
            call = self._owed.get(what)
            if call is not None:
                call()
        except Exception as error:  # whatever a server or a network does, it must not cost a run
            self._connected = self._connected and (renewed or not lasts(error))
            return error
        with self._lock:
            if self._owed.get(what) is call:
                self._owed.pop(what, None)
        return None

    def _fall_behind(self, reason: str, error: Exception | None) -> None:
        self.behind, self._error = reason, error
        if not self._said:
            self._said = True
            self.say(f"tracking waits: {reason} The sweep goes on.")

    def _missing(self) -> list[str]:
        """Return in words what is owed."""
        with self._lock:
            owed = list(self._owed)
        errors = sum(what.startswith(ERROR) for what in owed)
        words = [f"the rest of {count(left, 'run')}"] if (left := self._left()) else []
        words += [f"the {'errors' if errors > 1 else 'error'} of {count(errors, 'run')}"] if errors else []
        words += [f"the {what}" for what in owed if what.startswith(CHAMPION)]
        return [*words, *(["the summary"] if SUMMARY in owed else [])]
