"""A tracker that may be out of reach: the sweep goes on, and knows at the end whether everything has arrived."""

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
    """Passes every call on; what fails is said once and tried again with the next call.

    ``behind`` is why the last call failed, or None. All calls may be repeated, so nothing is lost: the run folders have
    it, and the next call, or the next driver, sends it. `begin` connects beside whatever comes next: to load MLflow and
    to make its database takes seconds, in which Ray can start. A failure that lasts ends the sweep where it connects
    for the first time, which is before training; later it is told like any other.
    """

    def __init__(self, inner: Tracker, say: Callable[[str], None]) -> None:
        self.inner, self.say = inner, say
        self.behind: str | None = None
        self._lasts = False
        self._connected = False
        self._tried = False
        self._connecting: Future[None] | None = None

    @property
    def told(self) -> str | None:
        """Why not everything has arrived, and what sends the rest; None if everything has."""
        if self.behind is None:
            return None
        mend = "Waiting does not mend it: correct it, and the" if self._lasts else "The"
        return f"tracking is behind: {self.behind} {mend} same command sends the rest."

    def look(self) -> None:
        """Refuse at once a place that no waiting mends; InputError with the remedy."""
        self.inner.look()

    def begin(self) -> None:
        """Connect in a thread; the next call waits for it."""
        self._connecting = Future()
        Thread(target=_settle, args=(self._connecting, self.inner.connect), daemon=True).start()

    @property
    def connecting(self) -> bool:
        """Whether what `begin` began has still to be waited for."""
        return self._connecting is not None

    def connect(self) -> None:
        """Connect, or try again with the next call; InputError if the address itself is wrong."""
        self._try(lambda: None)

    def sync(self, runs: Sequence[PlannedRun], folder: Path) -> None:
        """Send what is new."""
        self._try(lambda: self.inner.sync(runs, folder))

    def fail(self, run: PlannedRun, error: str) -> None:
        """Show a failure."""
        self._try(lambda: self.inner.fail(run, error))

    def run_id(self, key: str) -> str | None:
        """Return the tracker's name for a run."""
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
            self._connected = self._connected and not self._lasts  # what is there may be gone: it is looked at anew
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
    """Call, and let the future have what came of it."""
    try:
        call()
        future.set_result(None)
    except BaseException as error:  # whoever waits for the future gets it
        future.set_exception(error)
