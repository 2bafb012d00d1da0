"""Nights in MLflow: each once, with its numbers and files, in an experiment of their own; an outage costs no night."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest

from orchestrator.recipe.frozen import with_values
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.identity import Identity
from orchestrator.tracking.nights import show_nights
from orchestrator.tracking.patient import Patience
from tests.helpers.nights import bad_night, dates, night
from tests.helpers.tracked.tracked_sweep import SWEEP

NAME = f"{SWEEP.experiment}-nights"
SHORT = Patience(whole=0.5, total=5.0)


def spec_of(place: Path) -> SweepSpec:
    return with_values(SWEEP, {"tracking.uri": f"sqlite:///{place / 'mlflow.db'}", "tracking.experiment": "tracked"})


def write(folder: Path, content: dict[str, Any]) -> None:
    place = folder / content["night"]
    place.mkdir(parents=True, exist_ok=True)
    (place / "night.json").write_text(json.dumps(content))
    (place / "index.html").write_text("<!doctype html>")
    (place / "summary.md").write_text(f"night of {content['night']}")


def send(place: Path, spec: SweepSpec | None = None) -> tuple[str | None, list[str]]:
    said: list[str] = []
    identity, command, nights = Identity("a" * 32), "python jobs/nightly.py r.yaml", place / "nights"
    return show_nights(spec or spec_of(place), identity, command, nights, said.append), said


def runs(place: Path) -> dict[str, Any]:
    client = mlflow.MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(NAME)
    all_runs = client.search_runs([experiment.experiment_id])
    shown = {run.data.tags.get("night", "trend"): run for run in all_runs}
    assert len(shown) == len(all_runs)
    return shown


def history(place: Path, run: Any, metric: str) -> list[tuple[int, float]]:
    client = mlflow.MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, metric)]


def test_a_night_is_a_run_with_its_numbers_tags_and_files_and_the_trend_has_all_nights(place: Path) -> None:
    for name in dates(4)[:3]:
        write(place / "nights", night(name=name))
    write(place / "nights", bad_night())
    assert send(place) == (None, [])
    shown = runs(place)
    assert shown.keys() == {*dates(4), "trend"}
    last = shown["2026-11-28"]
    assert (last.info.run_name, last.info.status) == ("2026-11-28 worse", "FINISHED")
    tags = last.data.tags
    assert (tags["verdict"], tags["since"], tags["told"]) == ("worse", "2026-11-28", "told")
    assert tags["mlflow.note.content"] == "night of 2026-11-28"
    assert last.data.metrics["accuracy/tiny_recall/d2lora"] == 0.694
    assert last.data.metrics["baseline/tiny_recall/d2lora"] == 0.742
    assert last.data.metrics["night/evidence_e"] == 71000.0
    assert "accuracy/tiny_new/lora" not in last.data.metrics
    trend = history(place, shown["trend"], "accuracy/tiny_recall/d2lora")
    assert trend == [(0, 0.742), (1, 0.742), (2, 0.742), (3, 0.694)]
    client = mlflow.MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    files = {file.path for file in client.list_artifacts(last.info.run_id)}
    assert files == {"index.html", "summary.md", "night.json"}


def test_the_same_night_again_sends_nothing_and_a_changed_one_is_the_same_run(place: Path) -> None:
    write(place / "nights", night())
    assert send(place) == send(place) == (None, [])
    before = runs(place)
    write(place / "nights", night(told={"status": "told"}))
    send(place)
    after = runs(place)
    assert {run.info.run_id for run in after.values()} == {run.info.run_id for run in before.values()}
    assert after["2026-11-28"].data.tags["told"] == "told"
    assert len(history(place, after["trend"], "accuracy/tiny_recall/lora")) == 1


def test_a_night_that_could_not_be_sent_is_said_and_is_sent_with_the_next(place: Path) -> None:
    write(place / "nights", night(name="2026-11-27"))
    away = with_values(spec_of(place), {"tracking.uri": "http://127.0.0.1:1"})
    problem, said = send(place, away)
    assert problem is not None
    assert said == [f"the nights are not in MLflow yet: {problem} The next night sends them."]
    write(place / "nights", night())
    assert send(place) == (None, [])
    assert runs(place).keys() == {"2026-11-27", "2026-11-28", "trend"}


def test_a_server_that_never_answers_is_not_waited_for(place: Path) -> None:
    write(place / "nights", night())
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as door:
        away = with_values(spec_of(place), {"tracking.uri": f"http://127.0.0.1:{door.getsockname()[1]}"})
        begin = time.monotonic()
        problem = show_nights(away, Identity("a" * 32), "command", place / "nights", said.append, SHORT)
    assert problem == "the tracker has not answered for 0.5 s."
    assert time.monotonic() - begin < 10
    assert said == [f"the nights are not in MLflow yet: {problem} The next night sends them."]


def test_a_night_that_was_killed_between_two_requests_is_whole_after_the_next_start(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place / "nights", night())
    monkeypatch.setattr("mlflow.MlflowClient.set_terminated", _raises)
    assert send(place)[0] is not None
    monkeypatch.undo()
    assert send(place) == (None, [])
    shown = runs(place)
    assert (shown["2026-11-28"].info.status, "content" in shown["2026-11-28"].data.tags) == ("FINISHED", True)
    assert history(place, shown["trend"], "seconds/tiny_recall/lora") == [(0, 8.4)]


def _raises(*_: object, **__: object) -> None:
    raise ConnectionError("the server has gone")


def test_an_incomplete_night_is_a_failed_run_and_names_with_signs_that_mlflow_refuses_are_shown(place: Path) -> None:
    content = night("incomplete")
    content["cells"][0] |= {"task": "a/b", "method": "d2lora(rank=2,alpha=4)"}
    write(place / "nights", content)
    assert send(place) == (None, [])
    run = runs(place)["2026-11-28"]
    assert run.info.status == "FAILED"
    assert run.data.metrics["accuracy/a_b/d2lora rank:2 alpha:4"] == 0.742


def test_without_a_tracker_and_without_a_night_nothing_is_sent(place: Path) -> None:
    assert send(place, with_values(spec_of(place), {"tracking.uri": "none"})) == (None, [])
    assert send(place) == (None, [])


def test_a_half_written_night_is_left_to_the_next_send(place: Path) -> None:
    write(place / "nights", night())
    (place / "nights/2026-11-27").mkdir()
    (place / "nights/2026-11-27/night.json").write_text('{"night": "2026-')
    assert send(place) == (None, [])
    assert runs(place).keys() == {"2026-11-28", "trend"}
