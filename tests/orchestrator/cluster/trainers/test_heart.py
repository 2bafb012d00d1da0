"""The heart of a rank without Ray: what it tells the hub, what it hears, and that a slow hub delays nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.cluster.hub.messages import Beat, Place, Reply
from orchestrator.cluster.trainers import heart as module
from orchestrator.cluster.trainers.heart import HELLOS, Heart
from orchestrator.cluster.trainers.turns import sort_of
from orchestrator.control import RunEnd
from orchestrator.errors import StoppedError

END = RunEnd("key", "committed", 1, "seal")
PLACE = Place("node", "host", 1, None)


class ActorDiedError(Exception):
    """Ray's error, by its name."""


class FakeHub:
    """Keeps what it is told, and answers as it is told to."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.reply = Reply()
        self.failing: Exception | None = None

    def __call__(self, method: str, *words: Any) -> Any:
        if self.failing is not None:
            raise self.failing
        self.told.append((method, *words))
        return self.reply if method == "beat" else None

    def beats(self) -> list[Beat]:
        return [told[3] for told in self.told if told[0] == "beat"]


def test_a_beat_tells_the_steps_that_are_new() -> None:
    hub = FakeHub()
    heart = Heart(hub, "t", 1)
    heart.progress({"a": 1})
    heart.progress({"a": 2, "b": 1})
    heart.beat()
    heart.beat()
    assert [beat.steps for beat in hub.beats()] == [{"a": 2, "b": 1}, {}]
    assert hub.told[0][:3] == ("beat", "t", 1)


def test_what_was_not_answered_is_told_again_with_what_is_newer() -> None:
    hub = FakeHub()
    heart = Heart(hub, "t", 0)
    heart.progress({"a": 1, "b": 1})
    hub.failing = TimeoutError()
    heart.beat()
    heart.progress({"a": 2})
    hub.failing = None
    heart.beat()
    assert hub.beats()[-1].steps == {"a": 2, "b": 1}
    assert not heart.stopping


def test_an_end_is_told_at_once_and_again_until_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.05)
    hub = FakeHub()
    heart = Heart(hub, "t", 0)
    heart.begin(PLACE)
    hub.failing = TimeoutError()
    began = time.monotonic()
    heart.ended(END)  # returns although nobody answers
    assert time.monotonic() - began < 2
    hub.failing = None
    deadline = time.monotonic() + 5
    while ("note_ends", [END]) not in hub.told and time.monotonic() < deadline:
        time.sleep(0.01)
    heart.end()
    assert hub.told.count(("note_ends", [END])) == 1
    assert hub.told[0] == ("hello", "t", 0, PLACE)


def test_a_stop_is_heard_from_the_hub_and_stays() -> None:
    hub = FakeHub()
    heart = Heart(hub, "t", 0)
    assert not heart.stopping
    hub.reply = Reply(stop=True)
    heart.beat()
    hub.reply = Reply()
    heart.beat()
    assert heart.stopping


def test_a_hub_that_is_busy_hears_the_hello_later_and_a_hub_that_stays_so_costs_the_trainer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub, busy = FakeHub(), iter([True] * (HELLOS - 1))

    def call(method: str, *words: Any) -> Any:
        if next(busy, False):
            raise TimeoutError
        return hub(method, *words)

    heart = Heart(call, "t", 0)
    heart.begin(PLACE)
    heart.end()
    assert hub.told[0] == ("hello", "t", 0, PLACE)
    busy = iter([True] * HELLOS)
    with pytest.raises(TimeoutError):
        Heart(call, "t", 1).begin(PLACE)


def test_a_dead_hub_stops_the_rank() -> None:
    hub = FakeHub()
    hub.failing = ActorDiedError()
    heart = Heart(hub, "t", 0)
    heart.beat()
    assert heart.stopping


def test_the_stack_of_the_training_thread_is_sent_when_the_hub_asks() -> None:
    hub, over = FakeHub(), threading.Event()
    heart = Heart(hub, "t", 0)

    def a_function_that_hangs() -> None:
        heart.train_here()
        over.wait(20)

    thread = threading.Thread(target=a_function_that_hangs)
    thread.start()
    hub.reply = Reply(stack=True)
    heart.beat()
    heart.beat()
    over.set()
    thread.join()
    assert hub.beats()[0].stack == ""
    assert "a_function_that_hangs" in hub.beats()[1].stack


def test_an_end_that_comes_while_two_threads_beat_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heart's own thread and the training thread both beat; the second beat is answered first."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.0)  # nobody waits for an answer here
    hub, later = FakeHub(), RunEnd("later", "committed", 1, "seal")
    heart = Heart(hub, "t", 0)
    note = heart.ended

    class Slow:
        nested = False

        def __call__(self, method: str, *words: Any) -> Any:
            answer = hub(method, *words)
            if method == "note_ends" and not self.nested:
                self.nested = True
                heart.beat()
                note(later)
            return answer

    heart._call = Slow()
    note(END)
    heart.beat()
    heart.beat()
    assert [end for told in hub.told if told[0] == "note_ends" for end in told[1]] == [END, END, later]


def test_a_thread_that_waits_is_still_and_one_that_computes_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, over, ready = FakeHub(), threading.Event(), threading.Event()
    heart, clock = Heart(hub, "t", 0), iter(range(1000, 2000, 10))
    monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))

    def waiting() -> None:
        heart.train_here()
        ready.set()
        over.wait(20)

    thread = threading.Thread(target=waiting)
    thread.start()
    assert ready.wait(5)
    while not hub.beats() or hub.beats()[-1].still == 0:  # until the thread waits
        heart.beat()
    heart.beat()
    assert hub.beats()[-1].still == 20  # two beats of 10 s each
    over.set()
    thread.join()
    heart.train_here()  # this thread, which goes on
    heart.beat()
    total = sum(range(1000))
    heart.beat()
    assert total
    assert hub.beats()[-1].still == 0


@pytest.fixture
def _own_sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("_own_sigterm")
def test_sigterm_stops_a_rank_at_work_and_the_second_one_does_what_was_set_before() -> None:
    before: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: before.append(number))
    hub = FakeHub()
    heart = Heart(hub, "t", 0)
    heart.listen_to_sigterm()
    os.kill(os.getpid(), signal.SIGTERM)
    assert before == [signal.SIGTERM]  # no pack is at work
    heart.train_here()
    os.kill(os.getpid(), signal.SIGTERM)
    assert heart.stopping
    assert len(before) == 1
    heart.beat()
    assert hub.beats()[-1].told
    os.kill(os.getpid(), signal.SIGTERM)
    assert len(before) == 2


def test_an_error_of_a_rank_is_its_own_unless_it_was_stopped_or_lost_a_neighbour() -> None:
    import torch

    assert sort_of(StoppedError("told to stop")) == "stopped"
    assert sort_of(torch.distributed.DistBackendError("NCCL")) == "lost"
    assert sort_of(RuntimeError("[gloo/tcp/pair.cc:553] Connection closed by peer [10.0.0.2]:52361")) == "lost"
    pair = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534]"
    for words in (
        f"{pair} words of a later gloo",
        "[pair.cc:1] recv: No route to host",
        "connect: Connection timed out",
        "[unbound_buffer.cc:81] Timed out waiting 1800000ms for recv operation to complete",
        "Application timeout caused pair closure",
        "Read error [10.0.0.2]:52361: No such device",
    ):
        assert sort_of(RuntimeError(words)) == "lost", words
    assert sort_of(RuntimeError(f"[enforce fail at {pair[1:-1]}] op.preamble.length <= op.nbytes. 8 vs 4")) == "raised"
    assert sort_of(RuntimeError("[/gloo/transport/tcp/device.cc:83] Unable to find an address for: lo9")) == "raised"
    assert sort_of(RuntimeError("shapes do not fit")) == "raised"
    assert sort_of(ConnectionResetError("Connection reset by peer")) == "raised"  # of a file server, say
