"""The driver's talk with its hub: follow the packs to their end, or let all trainers save and stop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestrator.cluster.cluster import Failures
from orchestrator.cluster.hub.breaker import last_line
from orchestrator.cluster.hub.messages import Chunk, Line, PackEnd
from orchestrator.cluster.hub.nodes import end_actors
from orchestrator.cluster.news import News
from orchestrator.cluster.signals import GRACE_SECONDS

ASK_SECONDS = 0.5
HUB_SECONDS = 60.0  # after so long without an answer the hub counts as dead
FIRST_SECONDS = 180.0  # for the hub's first answer: its process starts, and may install a runtime environment before
WORD_SECONDS = 10.0  # after so long without the first answer the user is told
JOB_WAIT = "RAY_JOB_STOP_WAIT_TIME_S"  # how long `ray job stop` waits between SIGTERM and SIGKILL: 3 s by default


class Dialogue:
    """Follows one hub, round after round: what the hub tells goes to ``news`` and ``say``.

    ``alive`` is whether the hub has answered so far, ``no_room`` why the packs of the last round have failed if not a
    single trainer had room.
    """

    def __init__(self, hub: Any, news: News, say: Callable[[str], None]) -> None:
        self._hub, self._news, self._say = hub, news, say
        self._cursor = 0
        self._packs: Sequence[str] = ()
        self._ended: Failures = {}
        self.alive, self.no_room = True, ""

    def follow(self, added: Any, packs: Sequence[str], stopping: Callable[[], bool]) -> Failures:
        """Listen until these packs have ended, or until ``stopping`` says so; return the errors of those that failed.

        ``added`` is the call that has given the packs to the hub: its end is the hub's first answer. If the hub dies,
        or does not answer for HUB_SECONDS (FIRST_SECONDS the first time), the packs that have not ended fail with that
        reason, and the trainers end, because Ray ends the actors of a process that is gone.
        """
        self._packs, self._ended, self.no_room = packs, {}, ""
        try:
            self._await_first_answer(added, stopping)
            while not stopping() and not self._listen(ASK_SECONDS, HUB_SECONDS):
                pass
        except Exception as error:  # of any kind that Ray raises
            why = f"The hub, which hands packs to trainers, is gone: {last_line(str(error) or repr(error))}"
            self._say(f"{why} Its trainers are ended.")
            self.end()
            self._ended |= {pack: why for pack in packs if pack not in self._ended}
        return {pack: error for pack, error in self._ended.items() if error}

    def stop(self) -> None:
        """Let all trainers save their runs and end; wait for them as long as whoever stops this job waits."""
        seconds = grace(os.environ)
        deadline = time.monotonic() + seconds
        self._say(f"stopping: the trainers save their runs (within {seconds:.0f} s)")
        import ray

        try:
            ray.get(self._hub.stop.remote(), timeout=seconds)
            while time.monotonic() < deadline:
                if self._listen(0.2, max(0.5, deadline - time.monotonic())):
                    return
            self._say(
                f"trainers have not ended after {seconds:.0f} s; they are ended, and go on from older checkpoints"
            )
        except Exception as error:  # of any kind: the job ends now in any case
            self._say(f"the trainers could not be stopped in good order ({error!r}); they are ended")
        self.end()

    def end(self) -> None:
        """End the hub, and with it all trainers, at once; Ray removes the groups that the hub has asked for."""
        self.alive, self._news.trainers = False, 0
        end_actors([self._hub])

    def _await_first_answer(self, added: Any, stopping: Callable[[], bool]) -> None:
        """Return when the hub has taken the packs, or when the job is told to stop. Raise if it could not take them."""
        import ray

        began, told = time.monotonic(), False
        while not ray.wait([added], timeout=ASK_SECONDS)[0]:
            waited = time.monotonic() - began
            if stopping():
                return
            if waited > FIRST_SECONDS:
                raise TimeoutError(f"it has not answered within {FIRST_SECONDS:.0f} s of its start")
            if waited > WORD_SECONDS and not told:
                told = True
                self._say(
                    f"the hub, which hands packs to trainers, has not begun after {waited:.0f} s; "
                    f"it is waited for up to {FIRST_SECONDS:.0f} s"
                )
        ray.get(added)

    def _listen(self, wait: float, limit: float) -> bool:
        """Take in what is new; return whether all packs have ended."""
        import ray

        chunk: Chunk = ray.get(self._hub.news.remote(self._cursor, wait), timeout=limit + wait)
        self._take_in(chunk)
        return all(pack in self._ended for pack in self._packs)

    def _take_in(self, chunk: Chunk) -> None:
        self._cursor += len(chunk.events)
        self.no_room = chunk.no_room
        self._news.begun = self._news.begun or chunk.begun
        self._news.trainers = chunk.trainers
        self._news.progress(chunk.steps)
        for event in chunk.events:
            if isinstance(event, Line):
                self._say(event.text)
            elif isinstance(event, PackEnd):
                self._ended[event.pack] = event.error
            else:
                self._news.ended(event)


def grace(variables: Mapping[str, str]) -> float:
    """Return for how many seconds a stop may wait; ``variables`` are those of the process.

    `ray job stop` sends SIGTERM and, JOB_WAIT seconds later, SIGKILL. A job may set the variable for itself with
    ``ray job submit --runtime-env-json '{"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "30"}}'``.
    """
    submitted = "RAY_JOB_CONFIG_JSON_ENV_VAR" in variables
    told = variables.get(JOB_WAIT, "3" if submitted else "")
    try:
        return min(GRACE_SECONDS, max(1.0, float(told) - 1)) if told else GRACE_SECONDS
    except ValueError:
        return GRACE_SECONDS
