"""What is stale, decided from names and a few facts: in doubt a thing stays."""

from __future__ import annotations

import pytest

from orchestrator.store.inventory import Entry
from orchestrator.upkeep.stale import LOG_DAYS, Facts, ended_twice, stale

DAY = 86_400.0
BASIC = Facts(planned={"k"}, tasks={"boolq"}, results={"k"})


def names(facts: Facts, *files: str, modified: float = 0.0) -> list[str]:
    return sorted(row.name for row in stale({file: Entry(1, modified) for file in files}, facts))


def checkpoint(attempt: int, step: int = 8) -> list[str]:
    place = f"runs/k/attempt-{attempt}/checkpoints/{step:08d}"
    return [f"{place}/CHECKPOINT.json", f"{place}/lane.safetensors"]


def test_an_older_attempt_stays_as_long_as_a_checkpoint_lies_in_it() -> None:
    newest = "runs/k/attempt-3/metrics.jsonl"
    assert names(BASIC, "runs/k/attempt-1/metrics.jsonl", *checkpoint(2), newest) == ["runs/k/attempt-1"]
    unfinished = "runs/k/attempt-2/checkpoints/00000008/lane.safetensors"  # no manifest, so no checkpoint
    assert names(BASIC, unfinished, newest) == ["runs/k/attempt-2"]
    assert names(BASIC, newest) == []


def test_of_a_run_that_has_ended_the_attempt_that_ended_it_stays_and_without_a_word_of_it_all_stay() -> None:
    files = ["runs/k/COMMITTED.json", "runs/k/attempt-1/adapter/a", "runs/k/attempt-2/metrics.jsonl"]
    assert ended_twice(dict.fromkeys(files, Entry(1, 0.0))) == [("k", "committed")]
    facts = Facts(planned={"k"}, tasks=(), ended_by={"k": 1})
    assert names(facts, *files) == ["runs/k/attempt-2"]
    assert names(BASIC, *files) == []
    gone = Facts(planned={"k"}, tasks=(), ended_by={"k": 7})  # an attempt that is not there
    assert names(gone, *files) == []


def test_a_thing_within_a_stale_thing_counts_once() -> None:
    files = ["runs/x/COMMITTED.json", "runs/x/attempt-1/.tmp-1", "runs/x/COMMITTED.json.damaged-1", "runs/x.error.txt"]
    rows = {row.name: (row.files, row.size) for row in stale({file: Entry(5, 0.0) for file in files}, BASIC)}
    assert rows == {"runs/x": (3, 15), "runs/x.error.txt": (1, 5)}


def test_a_run_whose_name_begins_with_anothers_is_not_counted_with_it() -> None:
    facts = Facts(planned={"k0", "k-1"}, tasks=())
    (row,) = stale(
        {name: Entry(1, 0.0) for name in ("runs/k/run.json", "runs/k-1/run.json", "runs/k0/run.json")}, facts
    )
    assert (row.name, row.files) == ("runs/k", 1)


def test_a_champion_stays_where_the_best_run_is_not_known() -> None:
    place = "champions/boolq/model.safetensors"
    assert names(Facts(planned=(), tasks={"boolq"}, champions={"boolq": "a"}), place) == []
    assert names(Facts(planned=(), tasks={"boolq"}, champions={"boolq": "a"}, best={"boolq": "a"}), place) == []
    assert names(Facts(planned=(), tasks={"boolq"}, champions={"boolq": "a"}, best={"boolq": "b"}), place) == [
        "champions/boolq"
    ]
    assert names(Facts(planned=(), tasks={"boolq"}, best={"boolq": "b"}), place) == []  # its evaluation is unreadable


@pytest.mark.parametrize(("sound", "gone"), [((), []), ({"boolq"}, ["champions/boolq.sound-k"])])
def test_the_last_sound_champion_stays_until_the_task_has_one_again(sound: set[str], gone: list[str]) -> None:
    facts = Facts(planned=(), tasks={"boolq"}, sound=sound)
    assert names(facts, "champions/boolq.sound-k/model.safetensors", "champions/boolq/evaluation.json") == gone


def test_predictions_stay_for_planned_runs_where_the_results_cannot_be_read() -> None:
    files = ["predictions/k.jsonl", "predictions/x.jsonl"]
    assert names(Facts(planned={"k"}, tasks=()), *files) == ["predictions/x.jsonl"]
    assert names(Facts(planned={"k"}, tasks=(), results={"x"}), *files) == ["predictions/k.jsonl"]


@pytest.mark.parametrize(("days", "gone"), [(LOG_DAYS - 1, []), (LOG_DAYS + 1, ["logs/pack-00-rank0.jsonl"])])
def test_a_log_of_a_pack_is_stale_after_a_month_and_the_drivers_never(days: int, gone: list[str]) -> None:
    facts = Facts(planned=(), tasks=(), now=(days + 1) * DAY)
    assert names(facts, "logs/pack-00-rank0.jsonl", "logs/driver.jsonl", modified=DAY) == gone


def test_a_log_of_which_the_store_tells_no_time_stays() -> None:
    facts = Facts(planned=(), tasks=(), now=9999 * DAY)
    assert names(facts, "logs/pack-00-rank0.jsonl", modified=0.0) == []


def test_what_has_a_name_that_nobody_knows_stays() -> None:
    assert names(BASIC, "notes.txt", "runs/k/mine/x", "champions/README", "base/x.json", ".lease", "packs.json") == []
