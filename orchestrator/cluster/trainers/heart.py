"""The control of a rank over Ray: a thread that tells the hub every second how far the rank is, and hears "stop"."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.cluster.hub.messages import Beat, Place, Reply
from orchestrator.control import RunEnd

BEAT_SECONDS = 1.0
ANSWER_SECONDS = 10.0  # how long a call to the hub may take; what was not answered is told again
HELLOS = 6  # so often a rank says hello, because a trainer whose hello is not heard ends

Call = Callable[..., Any]
"""Calls a method of the hub by its name and returns the answer; raises if none comes within a limit."""


class Heart:
    """The `Control` of one rank. `begin` starts the beats, `end` ends them; a hub that is slow never delays training.

    A process is one rank of one trainer for all of its life, so `current` finds the heart of this process.
    """

    def __init__(self, call: Call, trainer: str, rank: int) -> None:
        self._call, self._trainer, self._rank = call, trainer, rank
        self._lock, self._wake, self._acknowledged = threading.Lock(), threading.Event(), threading.Event()
        self._steps: dict[str, int] = {}
        self._ends: list[RunEnd] = []
        self._stack_wanted = False
        self._thread: int | None = None
        self._seen: tuple[Any, ...] = ()
        self._moved = time.monotonic()
        self._over = False
        # plain attributes: a signal handler must not wait for a lock
        self._told = self._stop = self._training = False

    @property
    def stopping(self) -> bool:
        """Whether the hub, or a signal, has told this rank to save its runs and to stop."""
        return self._stop or self._told

    def progress(self, steps: Mapping[str, int]) -> None:
        """Note the steps done; the next beat tells the hub."""
        with self._lock:
            self._steps |= steps

    def ended(self, end: RunEnd) -> None:
        """Tell the hub of a run's end, and wait for its answer for a few seconds; later beats try again."""
        with self._lock:
            self._ends.append(end)
            self._acknowledged.clear()
        self._wake.set()
        self._acknowledged.wait(ANSWER_SECONDS)

    def begin(self, place: Place) -> None:
        """Tell the hub where this rank works, and beat from now on; a hub that is busy is told again."""
        for left in reversed(range(HELLOS)):
            try:
                self._call("hello", self._trainer, self._rank, place)
                break
            except TimeoutError:
                if not left:
                    raise
        threading.Thread(target=self._beat_on, name="heart", daemon=True).start()

    def end(self) -> None:
        """Stop beating, after one last beat."""
        self._over = True
        self._wake.set()

    def train_here(self) -> None:
        """Watch the calling thread as the one that trains."""
        self._thread, self._training = threading.get_ident(), True

    def rest(self) -> None:
        """Note that no pack is at work in this process: SIGTERM then ends the process at once."""
        self._training = False

    def listen_to_sigterm(self) -> None:
        """Let SIGTERM stop the rank in good order; a second one, and one between packs, do what Ray has set.

        Call it in the main thread, where Python sets and runs handlers.
        """
        before = signal.getsignal(signal.SIGTERM)

        def handler(number: int, frame: Any) -> None:
            if self._training and not self._told:
                self._told = True
            elif callable(before):
                before(number, frame)
            else:
                os._exit(128 + number)

        signal.signal(signal.SIGTERM, handler)

    def beat(self) -> None:
        """Tell the hub what is new; whatever was not answered is told again by the next beat."""
        with self._lock:
            steps, self._steps = self._steps, {}
            ends = list(self._ends)
        try:
            if ends:
                self._call("note_ends", ends)
                with self._lock:
                    told_now = {id(end) for end in ends}  # by identity: another thread may beat meanwhile
                    self._ends = [end for end in self._ends if id(end) not in told_now]
                    if not self._ends:
                        self._acknowledged.set()
            stack = stacks(self._thread) if self._stack_wanted else ""
            told = Beat(steps, self._still(), self._told, stack)
            reply: Reply = self._call("beat", self._trainer, self._rank, told)
        except Exception as error:  # of any kind: training goes on, whatever becomes of the hub
            with self._lock:
                self._steps = {**steps, **self._steps}
            if "Died" in type(error).__name__:  # the hub is gone for good, and with it whoever wants these runs
                self._stop = True
            return
        self._stack_wanted, self._stop = reply.stack, self._stop or reply.stop

    def _beat_on(self) -> None:
        while not self._over:
            self.beat()
            self._wake.wait(BEAT_SECONDS)
            self._wake.clear()
        self.beat()

    def _still(self) -> float:
        """Return for how many seconds the training thread has been at one place of the code."""
        frame = sys._current_frames().get(self._thread) if self._thread is not None else None
        place: list[Any] = []
        while frame is not None:
            place += (id(frame.f_code), frame.f_lasti)
            frame = frame.f_back
        now = time.monotonic()
        if tuple(place) != self._seen or not place:
            self._seen, self._moved = tuple(place), now
        return now - self._moved


def stacks(training: int | None) -> str:
    """Return the Python stack of the training thread as text, or of all threads if there is no such thread."""
    frames = sys._current_frames()
    chosen = {training: frames[training]} if training in frames else frames
    return "\n".join("".join(traceback.format_stack(frame)) for frame in chosen.values())


_CURRENT: list[Heart] = []


def begin_heart(hub: str, trainer: str, rank: int) -> None:
    """Let the heart of this process beat. Call it in the main thread of an actor of Ray, before anything slow.

    It also chooses the network interface of gloo and NCCL (`interface`), which must be set before ranks connect.
    """
    import ray

    from orchestrator.cluster.trainers.interface import choose_interface

    choose_interface(ray.util.get_node_ip_address())
    handle = ray.get_actor(hub)

    def call(method: str, *words: Any) -> Any:
        return ray.get(getattr(handle, method).remote(*words), timeout=ANSWER_SECONDS)

    context = ray.get_runtime_context()
    heart = Heart(call, trainer, rank)
    heart.listen_to_sigterm()
    heart.begin(Place(context.get_node_id(), socket.gethostname(), os.getpid(), context.current_actor))
    _CURRENT[:] = [heart]


def current() -> Heart:
    """Return the heart of this process."""
    return _CURRENT[0]
