"""Repeat a call in a thread of its own; an error of the call is said once, and the next call comes all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.say import Say


@contextmanager
def repeating(name: str, call: Callable[[], None], seconds: float, doing: str, say: Say) -> Iterator[threading.Thread]:
    """Within: ``call`` is made every ``seconds`` in the thread ``name``; at the end no further call is begun.

    The thread is yielded, so that whoever needs the end of the last call can wait for it after the block. ``doing``
    begins the sentence about an error: "<doing> met an error and goes on: ...".
    """
    over = threading.Event()
    thread = threading.Thread(target=_repeat, args=(call, seconds, doing, say, over), name=name, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        over.set()


def _repeat(call: Callable[[], None], seconds: float, doing: str, say: Say, over: threading.Event) -> None:
    said = False
    while not over.wait(seconds):
        try:
            call()
        except Exception as error:  # of any kind: the calls after this one are still wanted
            if not said:
                say(f"{doing} met an error and goes on: {error!r}")
            said = True
