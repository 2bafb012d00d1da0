"""Send to the tracker from a thread of its own while runs train, so that a slow server delays nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.driver.repeating import repeating
from orchestrator.say import Say

SYNC_SECONDS = 15.0  # the pause between syncs of the tracker; a sync takes 25 ms of processor time per run in training
LAST_SECONDS = 90.0  # how long the last sync may take: two requests with MLflow's time limit and a pause


@contextmanager
def syncing(sync: Callable[[], None], say: Say) -> Iterator[None]:
    """Within: call ``sync`` every SYNC_SECONDS in a thread; at the end wait for the call that is under way.

    An interrupted sweep does not wait. An error of ``sync`` is said once, and the next call is made all the same.
    """
    with repeating("tracker", sync, SYNC_SECONDS, "tracking", say) as thread:
        yield
    thread.join(1.0)
    if thread.is_alive():
        say(f"waiting for the tracker (at most {LAST_SECONDS:.0f} s)")
        thread.join(LAST_SECONDS)
