"""A resource that is opened on first use, or earlier in a thread, and closed once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Opening(Generic[T]):
    """Calls ``make`` once: in the thread that asks first for the `result`, or in a thread of its own after `begin`.

    The thread of `begin` lives until `close`, because on Linux the processes of a local Ray cluster die with the thread
    that started them (PR_SET_PDEATHSIG), not with the process of that thread.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._future: Future[T] | None = None
        self._thread: ThreadPoolExecutor | None = None

    def begin(self) -> None:
        """Begin to open in a thread, unless the resource is open or being opened."""
        if self._future is None:
            self._thread = self._thread or ThreadPoolExecutor(max_workers=1, thread_name_prefix="opening")
            self._future = self._thread.submit(self._make)

    def result(self) -> T:
        """Return the resource; open it first, or wait until it is open.

        An error of ``make`` is raised here; the next call then tries again.
        """
        if self._future is None:
            opened: Future[T] = Future()
            opened.set_result(self._make())
            self._future = opened
        try:
            return self._future.result()
        except Exception:
            self._future = None
            raise

    def close(self, end: Callable[[T], object]) -> None:
        """Wait for an opening that has begun, and call ``end`` with the resource if it is open."""
        try:
            if self._future is not None and self._future.exception() is None:
                end(self._future.result())
        finally:
            self._future = None
            if self._thread is not None:
                self._thread.shutdown()
