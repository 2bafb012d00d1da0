"""What of nights is stale by age; the newest night, a baseline and the frontier keep what they need at any age."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from orchestrator.recipe.nightly_section import KeepSpec
from orchestrator.store.inventory import Entry
from orchestrator.upkeep.stale import Facts, stale
from orchestrator.upkeep.stale_nights import NightFacts, needs_of, segment_of

TODAY = date(2027, 3, 1)
KEEP = KeepSpec(runs_days=14, predictions_days=90, pages_days=730)
RUNS = {"canary/logs", "canary/runs", "fresh/runs"}
ONCE = {"bisect", "confirm"}
ITEMS = {"anchors.json", "canary", "fresh", "losses.json", "measured.json"}
FILES = (
    "anchors.json", "bisect/1/runs/x/COMMITTED.json", "canary/logs/driver.jsonl", "canary/predictions/k.jsonl",
    "canary/results.jsonl", "canary/runs/k/COMMITTED.json", "canary/runs/k/attempt-1/adapter/adapter.safetensors",
    "confirm/runs/k/COMMITTED.json", "fresh/results.jsonl", "fresh/runs/k/COMMITTED.json", "frontier.json",
    "index.html", "losses.json", "measured.json", "night.json", "summary.md", "told.json",
)  # fmt: skip


def ago(days: int) -> str:
    return str(TODAY - timedelta(days=days))


def gone(verdicts: dict[int, str], frontier: tuple[int, ...] = (), more: tuple[str, ...] = ()) -> dict[int, set[str]]:
    """Return what is stale of each night, by its age in days; nights with the verdict "" have not ended."""
    names = [f"nights/{ago(age)}/{file}" for age in verdicts for file in FILES] + list(more)
    over = {ago(age): verdict for age, verdict in verdicts.items() if verdict}
    facts = NightFacts(TODAY, KEEP, over, [ago(age) for age in frontier])
    rows = stale({name: Entry(1, 0.0) for name in names}, Facts(planned=(), tasks=(), nights=facts))
    by_age: dict[int, set[str]] = {age: set() for age in verdicts}
    for row in rows:
        _, night, *rest = row.name.split("/")
        by_age[(TODAY - date.fromisoformat(night)).days].add("/".join(rest))
    return by_age


MOVED = {0: "ruler_moved"}  # since tonight nothing older is in a baseline


@pytest.mark.parametrize(
    ("age", "wanted"),
    [
        (1, set()),
        (14, set()),
        (15, RUNS | ONCE),
        (90, RUNS | ONCE),
        (91, ITEMS | ONCE),
        (730, ITEMS | ONCE),
        (731, {""}),  # the whole folder
    ],
)
@pytest.mark.parametrize("verdict", ["same_bytes", "within_noise", "better", "worse", "ruler_moved", "incomplete", ""])
def test_of_a_night_that_nothing_needs_age_alone_decides(age: int, wanted: set[str], verdict: str) -> None:
    assert gone({age: verdict, **MOVED})[age] == wanted


def test_a_baseline_keeps_the_measurements_of_its_segment_at_any_age_and_the_runs_of_its_newest_night() -> None:
    told = gone(
        {900: "same_bytes", 800: "ruler_moved", 400: "within_noise", 100: "same_bytes", 99: "worse", 1: "worse"}
    )
    assert told[900] == {""}
    assert told[800] == told[400] == RUNS | ONCE
    assert told[100] == ONCE  # the newest night of the baseline: what bytes are compared with
    assert told[99] == RUNS | ONCE  # its bytes tell that tonight is still worse
    assert told[1] == set()


def test_an_incomplete_night_is_in_no_baseline() -> None:
    told = gone({200: "same_bytes", 150: "incomplete", 149: "", 1: "same_bytes"})
    assert told[200] == RUNS | ONCE
    assert told[150] == told[149] == ITEMS | ONCE


def test_the_newest_night_and_the_newest_whole_night_keep_everything() -> None:
    told = gone({900: "same_bytes", 800: "incomplete", 790: ""})
    assert told == {900: set(), 800: {""}, 790: set()}
    assert gone({900: "incomplete"}) == {900: set()}


def test_nights_in_the_keys_of_the_frontier_keep_their_runs_and_losses() -> None:
    told = gone({900: "same_bytes", 800: "worse", **MOVED}, frontier=(900,))
    assert told == {900: ONCE, 800: {""}, 0: set()}


def test_a_name_that_no_night_gives_stays_and_so_does_its_folder() -> None:
    known = {"frontier.json", "index.html", "night.json", "summary.md", "told.json"}
    told = gone({800: "same_bytes", **MOVED}, more=(f"nights/{ago(800)}/notes.txt",))
    assert told[800] == ITEMS | ONCE | known
    others = (
        "nights/index.html",
        "nights/frontier.json",
        "nights/.lease/00000001",
        "nights.jsonl",
        "nights/2027-02-30/x",
    )
    assert gone({800: "same_bytes", **MOVED}, more=others) == {800: {""}, 0: set()}


def test_an_empty_folder_and_the_rest_of_a_night_that_was_half_deleted_go() -> None:
    facts = NightFacts(TODAY, KEEP, {ago(0): "ruler_moved"})
    names = (f"nights/{ago(800)}/", f"nights/{ago(801)}/canary/runs/k/attempt-1/x", f"nights/{ago(0)}/night.json")
    rows = stale({name: Entry(0, 0.0) for name in names}, Facts(planned=(), tasks=(), nights=facts))
    assert {row.name for row in rows} == {f"nights/{ago(800)}", f"nights/{ago(801)}"}


def test_a_night_of_the_future_stays() -> None:
    assert gone({-5: "", -400: "same_bytes", 0: "same_bytes"}) == {-5: set(), -400: set(), 0: set()}


def test_reasons_name_the_age_and_the_key_of_the_recipe() -> None:
    names = [f"nights/{ago(age)}/{file}" for age in (0, 100, 800) for file in FILES]
    facts = NightFacts(TODAY, KEEP, {ago(0): "ruler_moved", ago(100): "worse", ago(800): "worse"})
    rows = stale({name: Entry(1, 0.0) for name in names}, Facts(planned=(), tasks=(), nights=facts))
    reasons = {row.name.removeprefix("nights/"): row.reason for row in rows}
    night = ago(100)
    assert reasons[f"{night}/confirm"] == "the runs of the night 100 days ago (nightly.keep.runs_days: 14)"
    assert reasons[f"{night}/measured.json"] == (
        "the predictions of the night 100 days ago (nightly.keep.predictions_days: 90)"
    )
    assert reasons[ago(800)] == "all of the night 800 days ago (nightly.keep.pages_days: 730)"


VERDICTS = some.sampled_from(["same_bytes", "within_noise", "better", "worse", "ruler_moved", "incomplete", ""])


@given(some.dictionaries(some.integers(0, 1000), VERDICTS, min_size=1, max_size=12), some.integers(0, 1000))
def test_whatever_the_history_what_is_needed_stays(verdicts: dict[int, str], in_frontier: int) -> None:
    told = gone(verdicts, frontier=(in_frontier,))
    ages = sorted(verdicts)
    since = next((age for age in ages if verdicts[age] == "ruler_moved"), 10**6)
    baseline = [age for age in ages if age <= since and verdicts[age] not in ("incomplete", "worse", "")]
    whole = [age for age in ages if verdicts[age] not in ("incomplete", "")]
    for age in {ages[0], *whole[:1]}:
        assert told[age] == set()
    for age in baseline:
        assert not told[age] & (ITEMS | {"", "night.json"})
    for age in {*baseline[:1], in_frontier} & set(ages):
        assert not told[age] & (RUNS | ITEMS | {""})
    for age in ages:
        if age <= 14:
            assert told[age] == set()


def test_the_segment_begins_where_the_ruler_last_moved() -> None:
    verdicts = {"1": "same_bytes", "2": "ruler_moved", "3": "better", "4": "incomplete", "5": "worse"}
    assert segment_of(verdicts) == ["2", "3", "5"]
    assert segment_of({}) == []
    needs = needs_of(["3", "5"], NightFacts(TODAY, KEEP, verdicts))
    assert (set(needs.all), set(needs.runs), set(needs.measured)) == ({"5"}, {"3"}, {"2", "3", "5"})
