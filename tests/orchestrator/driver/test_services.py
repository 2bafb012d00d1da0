"""Cluster and tracker: looked at in one order, opened on first use or beside other work, closed once."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator.driver import services
from orchestrator.driver.opening import Opening
from orchestrator.driver.services import Services
from orchestrator.errors import InputError
from orchestrator.files import write_lines
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.tracking.in_memory import MemoryTracker
from tests.helpers.ready import ready_sweep


class Cluster:
    """A cluster that says when it is closed; ``answers`` are those of its nodes to a trial of the storage."""

    answers: tuple[str, ...] = ()

    def __init__(self, events: list[str]) -> None:
        self.events = events

    def on_other_nodes(self, function: Any, argument: Path) -> list[str]:
        return list(self.answers)

    def close(self) -> None:
        self.events.append("close")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is opened, looked at and closed, in order."""
    happened: list[str] = []

    def opened(*_: Any) -> Cluster:
        happened.append("open")
        return Cluster(happened)

    monkeypatch.setattr(services, "open_cluster", opened)
    monkeypatch.setattr(services, "try_ray_of", lambda _: happened.append("address"))
    monkeypatch.setattr(MemoryTracker, "look", lambda _: happened.append("look"))
    return happened


def services_of(place: Path, kind: str, lines: list[str]) -> Services:
    spec = ready_sweep(place, f"cluster.kind={kind}", "tracking.uri=none").spec
    return Services(spec, SweepFolder.of(spec), "command", lines.append)


@pytest.mark.parametrize(
    ("kind", "order"), [("local", ["open", "look", "close"]), ("ray", ["address", "look", "open", "close"])]
)
def test_a_local_cluster_is_opened_before_all_else_and_ray_on_first_use(
    tmp_path: Path, events: list[str], kind: str, order: list[str]
) -> None:
    with services_of(tmp_path, kind, []) as both:
        both.check()
        assert both.cluster is both.cluster
    assert events == order


def test_a_cluster_whose_nodes_see_another_folder_is_refused_and_closed(
    tmp_path: Path, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cluster, "answers", ("node-1-abcd",))
    with (
        services_of(tmp_path, "ray", []) as both,
        pytest.raises(InputError, match=r"Mount one storage at this path on every node"),
    ):
        assert both.cluster
    assert events == ["open", "close"]


def test_a_sweep_that_needs_no_cluster_opens_none(tmp_path: Path, events: list[str]) -> None:
    with services_of(tmp_path, "ray", []) as both:
        both.check()
    assert events == ["address", "look"]


def test_the_cluster_is_closed_where_the_sweep_is_interrupted(tmp_path: Path, events: list[str]) -> None:
    with pytest.raises(KeyboardInterrupt), services_of(tmp_path, "ray", []) as both:  # noqa: PT012
        assert both.cluster
        raise KeyboardInterrupt
    assert events == ["open", "close"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError, None])
def test_an_error_that_leaves_the_sweep_ends_what_the_tracker_shows_as_running_after_the_cluster(
    tmp_path: Path, events: list[str], monkeypatch: pytest.MonkeyPatch, error: type[BaseException] | None
) -> None:
    monkeypatch.setattr(MemoryTracker, "interrupt", lambda _: events.append("interrupt"))
    with contextlib.suppress(KeyboardInterrupt, InputError), services_of(tmp_path, "ray", []) as both:
        assert both.cluster
        both.tracker.connect()
        if error:
            raise error
    assert events == ["open", "close", *(["interrupt"] if error else [])]


def test_an_address_in_the_environment_that_the_recipe_overrules_is_told(
    tmp_path: Path, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    lines: list[str] = []
    with services_of(tmp_path, "ray", lines) as both:
        both.check()
    assert len(lines) == 1
    assert "http://elsewhere is passed over" in lines[0]


def test_whoever_starts_a_sweep_is_told_where_a_server_shows_its_runs(
    tmp_path: Path, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "make_tracker", lambda *_: MemoryTracker())
    spec, lines = ready_sweep(tmp_path, "cluster.kind=ray", "tracking.uri=http://mlflow:5000").spec, list[str]()
    with Services(spec, SweepFolder.of(spec), "command", lines.append) as both:
        both.check()
    assert lines == ["MLflow shows the runs: http://mlflow:5000"]
    assert events == ["address", "look"]


def test_a_cluster_that_was_begun_is_opened_once_and_an_error_waits_for_the_first_use(
    tmp_path: Path, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with services_of(tmp_path, "ray", []) as both:
        both.begin_cluster()
        both.begin_cluster()
        assert both.cluster
    assert events == ["open", "close"]

    def refused(*_: Any) -> Any:
        raise InputError("no room")

    monkeypatch.setattr(services, "open_cluster", refused)
    with services_of(tmp_path, "ray", []) as both:
        both.begin_cluster()
        for _ in range(2):
            with pytest.raises(InputError, match="no room"):
                _ = both.cluster
    assert events == ["open", "close"]


def test_what_is_begun_is_opened_in_a_thread_that_lives_until_it_is_closed() -> None:
    """Ray's processes die with the thread that started them."""
    opening = Opening(threading.current_thread)
    opening.begin()
    thread = opening.result()
    assert thread is not threading.current_thread()
    assert thread.is_alive()
    ended: list[threading.Thread] = []
    opening.close(ended.append)
    assert ended == [thread]
    assert not thread.is_alive()


def test_closing_waits_for_what_is_still_being_opened_and_has_nothing_to_do_where_that_fails() -> None:
    go, ended = threading.Event(), list[int]()

    def slow() -> int:
        assert go.wait(5)
        return 7

    opening = Opening(slow)
    opening.begin()
    threading.Timer(0.05, go.set).start()
    opening.close(ended.append)
    failing = Opening(lambda: 1 // 0)
    failing.begin()
    failing.close(ended.append)
    never = Opening(slow)
    never.close(ended.append)
    assert ended == [7]


@pytest.mark.parametrize("begun", [False, True])
def test_an_opening_that_failed_is_tried_again_by_the_next_use(begun: bool) -> None:
    answers = iter([InputError("no room"), InputError("no room")])

    def make() -> int:
        for error in answers:
            raise error
        return 7

    opening = Opening(make)
    for _ in range(2):
        if begun:
            opening.begin()
        with pytest.raises(InputError):
            opening.result()
    assert opening.result() == 7
    opening.close(lambda _: None)


@pytest.mark.parametrize(("last", "opened"), [("dropped", []), ("failed", ["open", "close"])])
def test_a_sweep_whose_results_are_all_there_opens_no_cluster(
    tmp_path: Path, events: list[str], last: str, opened: list[str]
) -> None:
    with services_of(tmp_path, "ray", []) as both:
        folder = SweepFolder.of(ready_sweep(tmp_path, "cluster.kind=ray", "tracking.uri=none").spec)
        write_lines(folder.results, [{"status": "committed"}, {"status": "diverged"}, {"status": last}])
        both.begin_cluster()
    assert events == opened


def test_a_cluster_that_is_another_s_is_not_joined_before_it_is_used(
    tmp_path: Path, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    with services_of(tmp_path, "ray", []) as both:
        both.begin_cluster()
        assert events == []


def test_a_resource_whose_end_fails_leaves_no_thread() -> None:
    opening = Opening(lambda: "resource")
    opening.begin()

    def end(_: str) -> None:
        raise OSError("no answer")

    with pytest.raises(OSError, match="no answer"):
        opening.close(end)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("opening")]
