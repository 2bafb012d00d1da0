"""A tracker that may be out of reach: the sweep goes on, and says at the end whether everything has arrived."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any

from orchestrator.errors import InputError
from orchestrator.plan.runs import PlannedRun
from orchestrator.tracking.failures import lasts, reason_of
from orchestrator.tracking.tracker import Tracker


class PatientTracker:
    """Passes every call on to the tracker ``inner``; a failure is printed once, and the next call tries again.

    ``behind`` is why the last call failed, or None. Nothing is lost by a failed call: the run folders have everything,
    and the next call, or the next driver, sends it. `begin` connects in a thread, because to load MLflow and to make
    its database takes seconds, in which Ray can start. A failure that lasts ends the sweep only at the first
    connection, which is before training. Later a failure that lasts is printed like any other.
    """

    def __init__(self, inner: Tracker, say: Callable[[str], None]) -> None:
        self.inner, self.say = inner, say
        self.behind: str | None = None
        self._lasts = False
        self._connected = False
        self._tried = False
        self._connecting: Future[None] | None = None

    @property
    def problem(self) -> str | None:
        """A sentence that says why not everything has arrived and how to send the rest; None if everything has."""
        if self.behind is None:
            return None
        mend = "Waiting does not mend it: correct it, and the" if self._lasts else "The"
        return f"tracking is behind: {self.behind} {mend} same command sends the rest."

    def look(self) -> None:
        """Refuse at once an address that waiting does not mend; InputError with the remedy."""
        self.inner.look()

    def begin(self) -> None:
        """Connect in a thread; the next call waits for it."""
        self._connecting = Future()
        Thread(target=_settle, args=(self._connecting, self.inner.connect), daemon=True).start()

    @property
    def connecting(self) -> bool:
        """Whether `begin` was called and no later call has waited for the connection yet."""
        return self._connecting is not None

    def connect(self) -> None:
        """Connect, or try again with the next call; InputError if the address itself is wrong."""
        self._try(lambda: None)

    def sync(self, runs: Sequence[PlannedRun], folder: Path) -> None:
        """Send the new steps and ends of these runs."""
        self._try(lambda: self.inner.sync(runs, folder))

    def fail(self, run: PlannedRun, error: str) -> None:
        """Show a failure."""
        self._try(lambda: self.inner.fail(run, error))

    def run_id(self, key: str) -> str | None:
        """Return the tracker's id of the run with this key."""
        return self.inner.run_id(key)

    def summarise(self, summary: Mapping[str, Any], folder: Path, complete: bool) -> None:
        """Put statistics and files on the parents."""
        self._try(lambda: self.inner.summarise(summary, folder, complete))

    def register(self, task: str, evaluation: Mapping[str, Any], place: Path) -> None:
        """Register a champion."""
        self._try(lambda: self.inner.register(task, evaluation, place))

    def _try(self, call: Callable[[], None]) -> None:
        first, self._tried = not self._tried, True
        try:
            if not self._connected:
                self._connect()
            call()
        except Exception as error:  # whatever a server or a network does, it must not cost a run
            if first and isinstance(error, InputError):
                raise
            reason = reason_of(error)
            if self.behind is None:
                self.say(f"tracking waits: {reason} The sweep goes on.")
            self.behind, self._lasts = reason, lasts(error)
            self._connected = self._connected and not self._lasts  # runs may be deleted: connect and list anew
            return
        self.behind = None

    def _connect(self) -> None:
        if self._connecting is None:
            self.inner.connect()
        else:
            try:
                self._connecting.result()
            finally:
                self._connecting = None
        self._connected = True


def _settle(future: Future[None], call: Callable[[], None]) -> None:
    """Call ``call``, and put its end or its error into ``future``."""
    try:
        call()
        future.set_result(None)
    except BaseException as error:  # raised where the future is waited for
        future.set_exception(error)
