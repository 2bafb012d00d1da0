"""SIGINT and SIGTERM: while packs train, first a wish to stop, then the end; and no handler of Ray's in between."""

from __future__ import annotations

import _thread
import ctypes
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


@contextmanager
def own_handlers() -> Iterator[None]:
    """Within: a library may set handlers of SIGINT and SIGTERM; at the end the handlers from before are there again.

    `ray.init` sets two handlers of SIGTERM: one of Python, in the main thread, that exits with code 15, and one of the
    process, in any thread, that aborts. Python lets only the main thread set its handlers. The handler of the process
    is set anew in any thread, so a Ray that opens in a thread leaves no time without the job's own handler.

    A SIGTERM that meets Ray's handler meanwhile goes to the handler from before.
    """
    before = {number: signal.getsignal(number) for number in SENT}
    of_process = {number: _getsig(number) for number in SENT}
    try:
        yield
    except SystemExit as end:
        _set_again(before, of_process)
        handler = before[signal.SIGTERM]
        if end.code == signal.SIGTERM and callable(handler):
            handler(signal.SIGTERM, None)
        raise
    finally:
        _set_again(before, of_process)


def _set_again(before: dict[signal.Signals, Any], of_process: dict[signal.Signals, int | None]) -> None:
    main = threading.current_thread() is threading.main_thread()
    for number, handler in before.items():
        if main and signal.getsignal(number) is signal.SIG_IGN and handler is not signal.SIG_IGN:
            continue  # the job's own handler has been called, and ignores the second signal
        if main and handler is not None:
            signal.signal(number, handler)
        else:
            _setsig(number, of_process[number])


def _getsig(number: int) -> int | None:
    """Return the address of the handler that the process has; None is the default (SIG_DFL)."""
    get = ctypes.pythonapi.PyOS_getsig
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.c_int]
    address: int | None = get(number)
    return address


def _setsig(number: int, address: int | None) -> None:
    """Set the handler of the process by its address, in any thread."""
    set_ = ctypes.pythonapi.PyOS_setsig
    set_.restype, set_.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
    set_(number, address)
