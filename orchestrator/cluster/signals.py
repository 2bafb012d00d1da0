"""SIGINT and SIGTERM while a pack trains in this process: first a wish to stop, then the end."""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

GRACE_SECONDS = 25.0  # how long a pack may go on after a signal; Kubernetes and clouds kill after 30 s
SENT = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Whether a signal ``came``, and the handlers that were there before."""

    def __init__(self, grace: float | None = None) -> None:
        self.came = False
        self._grace = grace or GRACE_SECONDS
        self.before: dict[int, Any] = {}
        self._number = 0
        self._timer: threading.Timer | None = None

    def handle(self, number: int, frame: Any) -> None:
        """Note the first signal; a second one, and the end of the grace, act as if no pack were at work."""
        if self.came:
            self.restore()
            self._act(number, frame)
            return
        self.came, self._number = True, number
        self._timer = threading.Timer(self._grace, _thread.interrupt_main, (number,))
        self._timer.daemon = True
        self._timer.start()

    def restore(self) -> None:
        """Put the handlers back that were there before."""
        if self._timer is not None:
            self._timer.cancel()
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def act(self) -> None:
        """Do what the first signal would have done without a pack: raise KeyboardInterrupt."""
        self._act(self._number, None)

    def _act(self, number: int, frame: Any) -> None:
        handler = self.before.get(number)
        if callable(handler):
            handler(number, frame)
        raise KeyboardInterrupt


@contextmanager
def stopped_by_signals(grace: float | None = None) -> Iterator[Signals]:
    """Within: the first SIGINT or SIGTERM only sets ``came``; at the end, or after ``grace`` seconds, it acts.

    A handler that raised at once could raise where Python ignores errors, and the signal would be lost.
    A handler that was ignored before stays ignored. Outside of the main thread, where Python sets no handlers, nothing
    is changed.
    """
    signals = Signals(grace)
    if threading.current_thread() is threading.main_thread():
        signals.before = {
            number: handler for number in SENT if (handler := signal.getsignal(number)) not in (None, signal.SIG_IGN)
        }
        for number in signals.before:
            signal.signal(number, signals.handle)
    try:
        yield signals
    finally:
        signals.restore()
    if signals.came:
        signals.act()
