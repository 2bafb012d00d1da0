"""MLflow's start and end of a run are those of its training; parents span their runs; a continued sweep goes on."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException, get_error_code

from orchestrator.errors import InputError
from orchestrator.plan.runs import PlannedRun
from orchestrator.tracking.mlflow.progress import Progress
from tests.orchestrator.tracking.mlflow.test_tracker import CLIENT, RUNS, Watched, driver

BEGAN, STEP = 1_700_000_000_000, 2000  # milliseconds
MINUTE, NIGHT = 60_000, 12 * 3_600_000
FIRST, SECOND = RUNS
ENDS = {"committed": "COMMITTED", "diverged": "DIVERGED", "stopped": "STOPPED"}


def train(place: Path, run: PlannedRun, steps: int, began: int = BEGAN, attempt: int = 1, **row: Any) -> None:
    """Write the folder of a run whose steps take two seconds each; it has ended if ``row`` has a status."""
    folder = place / "runs" / run.key
    log = folder / f"attempt-{attempt}" / "metrics.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"step": step, "time": began + STEP * (step + 1), "tokens": 8 * step} for step in range(steps)]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if status := row.get("status"):
        if status == "committed":
            log.rename(folder / "metrics.jsonl")
        content = {"row": {"reason": "Stopped at step 3 of 9", **row}, "files": {}, "rule": "asha"}
        (folder / f"{ENDS[status]}.json").write_text(json.dumps(content))


def spans(place: Path) -> dict[str, tuple[int, int | None]]:
    """Return MLflow's start and end of each run: "sweep", "group", and of the others the seed."""
    client = CLIENT(f"sqlite:///{place}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("tracked").experiment_id])
    names = {run.info.run_id: run.data.tags.get("seed", run.data.tags["kind"]) for run in runs}
    return {names[run.info.run_id]: (run.info.start_time, run.info.end_time) for run in runs}


def summarise(tracker: Any, folder: Path) -> None:
    """End sweep and group as a driver does, with a summary of the one method that says little."""
    statistics = {"lr": 2e-4, "n": 2, "mean": None, "sd": None, "interval": None, "worst_seed": None, "families": {}}
    statistics |= {"base_accuracy": None, "volatility": None, "by_lr": {}}
    statistics |= dict.fromkeys(("diverged", "failed", "stopped", "dropped"), 0)
    content = {"methods": {"lora": statistics}, "families": {}}
    (folder / "sweep.json").write_text(json.dumps({"command": "a test"}))
    tracker.summarise({"headline": "", "macro": {"methods": {}}, "tasks": {"boolq": content}}, folder, True)
    assert tracker.behind is None, tracker.behind


@pytest.mark.parametrize("status", ENDS)
def test_a_run_lasts_from_the_begin_of_its_first_step_to_the_end_of_its_last(place: Path, status: str) -> None:
    train(place, FIRST, 5, status=status, train_seconds=2.5)  # a pack of four: its share of the ten seconds
    driver(place).sync(RUNS, place)
    assert spans(place)["0"] == (BEGAN, BEGAN + 5 * STEP)


def test_a_run_that_is_shown_while_it_trains_has_its_begin_and_later_its_end(place: Path) -> None:
    train(place, FIRST, 3)
    tracker = driver(place)
    tracker.sync(RUNS, place)
    assert spans(place)["0"] == (BEGAN, None)
    train(place, FIRST, 9, status="committed", train_seconds=18)
    tracker.sync(RUNS, place)
    assert spans(place)["0"] == (BEGAN, BEGAN + 9 * STEP)


def test_a_slow_first_step_is_within_the_run_as_far_as_its_train_seconds_tell() -> None:
    steps = [{"step": step, "time": 60_000 + 100 * step} for step in range(3)]
    assert Progress(steps, "committed", {"train_seconds": 5.2}).begin == 55_000
    assert Progress(steps, "committed", {"train_seconds": 0.1}).begin == 59_900
    assert Progress(steps[:1], "diverged", {"train_seconds": 1.5}).begin == 58_500
    assert (Progress(steps[:1], None, {}).begin, Progress(steps, None, {}).end) == (60_000, 60_200)
    assert (Progress([], None, {}).begin, Progress([], None, {}).end) == (None, None)


def test_a_run_that_failed_ends_at_its_last_step_and_one_without_a_step_has_no_duration(place: Path) -> None:
    train(place, FIRST, 4)
    before = round(time.time() * 1000)
    tracker = driver(place)
    tracker.sync(RUNS, place)
    for run in RUNS:
        tracker.fail(run, "no memory")
    assert spans(place)["0"] == (BEGAN, BEGAN + 4 * STEP)
    begin, end = spans(place)["1"]
    assert before <= begin == end


def test_a_run_that_fails_for_a_driver_which_has_sent_none_of_its_steps_ends_at_its_last_step(place: Path) -> None:
    train(place, FIRST, 4)
    driver(place).sync(RUNS, place)  # and this driver is killed
    train(place, FIRST, 0, attempt=2)
    tracker = driver(place)
    tracker.sync(RUNS, place)
    tracker.fail(FIRST, "no memory")
    assert spans(place)["0"] == (BEGAN, BEGAN + 4 * STEP)


def test_parents_last_from_the_first_begin_to_the_last_end_of_their_runs_in_whatever_order_they_are_planned(
    place: Path,
) -> None:
    train(place, FIRST, 5, BEGAN + MINUTE, status="committed")
    train(place, SECOND, 50, BEGAN, status="diverged")  # planned second, began first, ended last
    tracker = driver(place)
    tracker.sync(RUNS, place)
    summarise(tracker, place)
    whole = (BEGAN, BEGAN + 50 * STEP)
    assert spans(place) == {
        "sweep": whole,
        "group": whole,
        "0": (BEGAN + MINUTE, BEGAN + MINUTE + 5 * STEP),
        "1": whole,
    }


def test_a_continued_sweep_keeps_what_has_ended_and_its_parents_last_to_the_end_of_the_last_run(place: Path) -> None:
    train(place, FIRST, 5, status="committed")
    train(place, SECOND, 3, BEGAN + MINUTE)  # and then the driver is killed
    driver(place).sync(RUNS, place)
    train(place, SECOND, 9, BEGAN + NIGHT, attempt=2, status="committed", train_seconds=18)
    tracker = driver(place)
    tracker.sync(RUNS, place)
    summarise(tracker, place)
    end = BEGAN + NIGHT + 9 * STEP
    expected = {
        "0": (BEGAN, BEGAN + 5 * STEP),
        "1": (BEGAN + MINUTE, end),
        "group": (BEGAN, end),
        "sweep": (BEGAN, end),
    }
    assert spans(place) == expected
    later = driver(place)  # finds everything finished
    later.sync(RUNS, place)
    summarise(later, place)
    assert spans(place) == expected


def test_a_stopped_run_that_is_taken_up_ends_when_it_has_been_trained_to_its_end(place: Path) -> None:
    train(place, FIRST, 3, status="stopped")
    tracker = driver(place)
    tracker.sync(RUNS, place)
    (place / "runs" / FIRST.key / "STOPPED.json").unlink()
    train(place, FIRST, 9, BEGAN + MINUTE, attempt=2)
    tracker.sync(RUNS, place)
    summarise(tracker, place)  # at an interrupt: the run has come to its ninth step
    assert spans(place)["group"] == (BEGAN, BEGAN + MINUTE + 9 * STEP)
    train(place, FIRST, 9, BEGAN + MINUTE, attempt=2, status="committed")
    driver(place).sync(RUNS, place)
    assert spans(place)["0"] == (BEGAN, BEGAN + MINUTE + 9 * STEP)


def test_a_stopped_run_that_was_taken_up_and_failed_ends_at_the_last_step_that_was_shown(place: Path) -> None:
    train(place, FIRST, 3, status="stopped")
    driver(place).sync(RUNS, place)
    (place / "runs" / FIRST.key / "STOPPED.json").unlink()
    train(place, FIRST, 9, BEGAN + MINUTE, attempt=2)
    driver(place).sync(RUNS, place)  # and this driver is killed
    train(place, FIRST, 0, attempt=3)
    tracker = driver(place)
    tracker.sync(RUNS, place)
    tracker.fail(FIRST, "no memory")
    assert spans(place)["0"] == (BEGAN, BEGAN + MINUTE + 9 * STEP)


def test_parents_that_were_deleted_begin_again_with_their_first_run(place: Path) -> None:
    train(place, FIRST, 5, BEGAN + MINUTE, status="committed")
    train(place, SECOND, 5, BEGAN, status="committed")
    driver(place).sync(RUNS, place)
    client = CLIENT(f"sqlite:///{place}/mlflow.db")
    for run in client.search_runs([client.get_experiment_by_name("tracked").experiment_id], "tags.kind != 'run'"):
        client.delete_run(run.info.run_id)
    tracker = driver(place)
    summarise(tracker, place)
    assert spans(place)["sweep"] == spans(place)["group"] == (BEGAN, BEGAN + MINUTE + 5 * STEP)


def test_a_clock_that_was_set_back_makes_no_run_end_before_it_began(place: Path) -> None:
    train(place, FIRST, 3)
    driver(place).sync(RUNS, place)
    train(place, FIRST, 5, BEGAN - NIGHT, attempt=2, status="committed")
    tracker = driver(place)
    tracker.sync(RUNS, place)
    summarise(tracker, place)
    assert spans(place) == dict.fromkeys(("0", "group", "sweep"), (BEGAN, BEGAN))


def test_a_tracker_that_cannot_be_written_to_is_refused_before_training(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class ReadOnly(Watched):
        def __getattr__(self, name: str) -> Any:
            if name.startswith(("get", "search")):
                return super().__getattr__(name)
            raise MlflowException("Permission denied", error_code=get_error_code(403))

    CLIENT(f"sqlite:///{place}/mlflow.db").create_experiment("tracked", artifact_location=f"{place}/files")
    monkeypatch.setattr(mlflow, "MlflowClient", lambda **_: ReadOnly(f"sqlite:///{place}/mlflow.db"))
    with pytest.raises(InputError, match="Permission denied"):
        driver(place)
