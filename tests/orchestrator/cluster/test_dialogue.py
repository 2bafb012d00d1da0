"""How long the driver waits for its hub's first answer, and a stop for trainers to save their runs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.cluster import dialogue
from orchestrator.cluster.dialogue import FIRST_SECONDS, Dialogue, grace
from orchestrator.cluster.hub.messages import Chunk, Line, PackEnd
from orchestrator.cluster.news import News
from orchestrator.cluster.signals import GRACE_SECONDS
from tests.helpers.cluster.fake_ray import FakeRay, Waits

JOB = {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, GRACE_SECONDS),
        (JOB, 2.0),  # `ray job stop` kills after 3 s
        (JOB | {"RAY_JOB_STOP_WAIT_TIME_S": "30"}, GRACE_SECONDS),
        (JOB | {"RAY_JOB_STOP_WAIT_TIME_S": "10"}, 9.0),
        ({"RAY_JOB_STOP_WAIT_TIME_S": "1"}, 1.0),
        ({"RAY_JOB_STOP_WAIT_TIME_S": "soon"}, GRACE_SECONDS),
    ],
)
def test_a_stop_waits_as_long_as_whoever_stops_the_job_waits(variables: dict[str, str], seconds: float) -> None:
    assert grace(variables) == seconds


TAKEN = None
"""What a hub answers that has taken the packs of a round."""


def talk(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> tuple[Dialogue, int, list[str], News]:
    """Return a dialogue with a hub that gives these answers, the first of them to the call that is returned too.

    The clock goes on 5 s per look.
    """
    fake, said, news, clock = FakeRay(monkeypatch, answers), list[str](), News(), iter(range(0, 10_000, 5))
    monkeypatch.setattr(dialogue, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(dialogue, "end_actors", lambda _: None)
    hub = SimpleNamespace(news=SimpleNamespace(remote=fake.method))
    return Dialogue(hub, news, said.append), fake.method(), said, news


FIRST = Chunk({"key": 1}, (Line("a line"),), True, False)
LAST = Chunk({}, (PackEnd("p", ""),), True, True, trainers=3)


def test_a_hub_that_begins_slowly_is_waited_for_with_one_word_and_nothing_of_its_answer_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talking, added, said, news = talk(monkeypatch, Waits(30), TAKEN, FIRST, LAST)
    assert talking.follow(added, ["p"], lambda: False) == {}
    assert said == [
        "the hub, which hands packs to trainers, has not begun after 15 s; it is waited for up to 180 s",
        "a line",
    ]
    assert news.steps == {"key": 1}
    assert news.trainers == 3  # by which a budget is counted


def test_a_hub_that_never_answers_fails_its_packs_after_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    talking, added, _, _ = talk(monkeypatch, Waits(1000), TAKEN)
    (error,) = talking.follow(added, ["p"], lambda: False).values()
    assert f"has not answered within {FIRST_SECONDS:.0f} s" in error


def test_a_stop_is_heard_while_the_hub_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    talking, added, said, _ = talk(monkeypatch, Waits(1000), TAKEN)
    assert talking.follow(added, ["p"], lambda: True) == {}
    assert said == []


def test_packs_that_the_hub_could_not_take_fail_with_the_reason_and_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talking, added, said, news = talk(monkeypatch, OSError("no space left to spill objects to"))
    (error,) = talking.follow(added, ["p"], lambda: False).values()
    assert error.endswith("is gone: no space left to spill objects to")
    assert said == [f"{error} Its trainers are ended."]
    assert not talking.alive
    assert news.trainers == 0


def test_the_driver_knows_how_many_trainers_hold_room(monkeypatch: pytest.MonkeyPatch) -> None:
    talking, added, _, news = talk(monkeypatch, TAKEN, replace(LAST, trainers=7))
    talking.follow(added, ["p"], lambda: False)
    assert news.trainers == 7
