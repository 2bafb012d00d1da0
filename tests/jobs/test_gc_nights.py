"""`gc` of a sweep with nights: what is old goes, on a disk and in a store; baseline, frontier and gate lose nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

import jobs.gc
from jobs.command import run_job
from orchestrator.files import write_bytes, write_json, write_lines
from orchestrator.plan.runs import PlannedRun
from orchestrator.store.champion import EVALUATION
from orchestrator.store.inventory import inventory
from orchestrator.store.lease import hold, holder
from orchestrator.store.manifest import sealed
from orchestrator.store.nights_folder import NightsFolder
from orchestrator.store.run_folder import RunFolder
from tests.helpers.folders import Made
from tests.helpers.stores import server, store  # noqa: F401 - fixtures
from tests.jobs.test_gc import champion, gc, reasons, results

Output = pytest.CaptureFixture[str]
LORA, DORA = "lora", "dora"
Renewed = Mapping[str, str]


def ago(days: int) -> str:
    return str(date.today() - timedelta(days=days))


def runs_of(made: Made, renewed: Renewed) -> list[PlannedRun]:
    """Return the runs of the sweep whose frontier is ``renewed``."""
    return made.keyed(made.spec.model_copy(update={"renewed": dict(renewed)}))


def commit_all(made: Made, renewed: Renewed) -> set[str]:
    """Commit the runs of a frontier that are not there yet; return their keys."""
    made.runs = runs_of(made, renewed)
    for number, run in enumerate(made.runs):
        if not made.folder.run(run.key).ended():
            made.commit(number)
    return {run.key for run in made.runs}


def night(made: Made, days: int, verdict: str = "same_bytes", renewed: Renewed | None = None) -> None:
    """Write a night that is over: so many days ago, and the frontier that it has left."""
    nights = NightsFolder.of(made.spec)
    folder = nights.night(ago(days))
    for file in (folder.measured, folder.losses, folder.anchors, folder.page, folder.markdown, folder.canary.results):
        write_bytes(file, b"{}\n")
    run = RunFolder(folder.canary.runs / "0123456789abcdef")
    attempt = run.begin({"seed": 0})
    write_bytes(attempt.path / "adapter" / "adapter.safetensors", b"x" * 1000)
    for name in ("metrics.jsonl", "predictions.jsonl"):
        write_lines(attempt.path / name, [{"step": 1}])
    attempt.commit(made.row(0))
    write_bytes(folder.confirm.results, b"{}\n")
    write_json(folder.night_json, {"verdict": verdict, "status": "over", "frontier": {"renewed": dict(renewed or {})}})


def rows(made: Made, verdicts: Mapping[int, str]) -> None:
    write_lines(
        NightsFolder.of(made.spec).rows, [{"night": ago(days), "verdict": word} for days, word in verdicts.items()]
    )


def frontier(made: Made, renewed: Renewed) -> None:
    """Write the frontier that stands."""
    kept = {label: [{"night": renewed.get(label)}] for label in (LORA, DORA)}
    write_json(NightsFolder.of(made.spec).frontier, sealed({"methods": kept}))


@pytest.fixture(params=["disk", pytest.param("store", marks=pytest.mark.slow)])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    """Return a sweep on the disk, and one in an object store."""
    if request.param == "disk":
        return Made(tmp_path, str(tmp_path / "sweeps"))
    request.getfixturevalue("store")
    return Made(tmp_path, "s3://sweeps/all")


def test_old_nights_are_listed_then_deleted_and_the_nights_that_are_needed_stay(anywhere: Made, capsys: Output) -> None:
    made = anywhere.begin()
    results(made, *range(3))
    commit_all(made, {})
    verdicts = {800: "worse", 100: "ruler_moved", 20: "worse", 3: "same_bytes", 0: "incomplete"}
    for days, verdict in verdicts.items():
        night(made, days, verdict)
    rows(made, {days: verdict for days, verdict in verdicts.items() if days > 3})
    frontier(made, {})
    before = set(inventory(made.folder.path))
    listed = reasons(capsys, made)
    old = {f"nights/{ago(days)}/{part}" for days in (100, 20) for part in ("canary/runs", "confirm")}
    assert set(listed) == {f"nights/{ago(800)}", *old}
    assert "nightly.keep.runs_days: 14" in listed[f"nights/{ago(20)}/confirm"]
    assert {name for name in inventory(made.folder.path) if ".lease" not in name} == before
    said = gc(capsys, made, "--delete")
    assert "now deleted" in said
    left = set(inventory(made.folder.path))
    below = {name for name in before for thing in listed if name.rstrip("/") == thing or name.startswith(f"{thing}/")}
    assert {name for name in left if ".lease" not in name} == before - below
    assert reasons(capsys, made) == {}


def test_runs_of_former_frontiers_stay_for_the_days_in_which_a_night_may_go_back(
    anywhere: Made, capsys: Output
) -> None:
    made = anywhere.begin()
    results(made, *range(3))
    first, second = ago(40), ago(10)
    keys = {
        "before": commit_all(made, {}),
        "first": commit_all(made, {LORA: first}),
        "second": commit_all(made, {LORA: second}),
        "now": commit_all(made, {LORA: second, DORA: ago(1)}),
    }
    night(made, 60, renewed={})
    night(made, 40, renewed={LORA: first})
    night(made, 10, renewed={LORA: second})
    night(made, 1, renewed={LORA: second, DORA: ago(1)})
    frontier(made, {LORA: second, DORA: ago(1)})
    stale = {name.removeprefix("runs/") for name in reasons(capsys, made) if name.startswith("runs/")}
    assert stale == keys["before"] - keys["first"]  # lora before nights: replaced 40 days ago
    # `first` was replaced 10 days ago, and dora of before nights yesterday: a night may go back to both
    assert keys["first"] | keys["second"] | keys["now"] <= set(all_runs(made)) - stale
    gc(capsys, made, "--delete")
    assert set(all_runs(made)) == keys["first"] | keys["second"] | keys["now"]
    longer = reasons(capsys, made, "nightly.keep.runs_days=5")
    gone = {name.removeprefix("runs/") for name in longer if name.startswith("runs/")}
    assert gone == keys["first"] - keys["second"]  # only the frontier that last night has replaced still counts


def all_runs(made: Made) -> set[str]:
    parts = [name.split("/") for name in inventory(made.folder.path)]
    return {part[1] for part in parts if part[0] == "runs" and part[1]}


def test_the_reason_of_a_run_that_neither_recipe_nor_frontier_has(made: Made, capsys: Output) -> None:
    made.begin()
    commit_all(made, {})
    night(made, 0)
    frontier(made, {})
    write_bytes(made.folder.runs / "0123456789abcdef" / "COMMITTED.json", b"{}")
    assert reasons(capsys, made) == {
        "runs/0123456789abcdef": "a run of neither the recipe nor a frontier of 14 days or less ago"
    }


def test_the_gate_decides_which_champion_stands_and_its_run_stays(made: Made, capsys: Output) -> None:
    made.begin()
    commit_all(made, {LORA: ago(50)})
    standing = made.runs[0].key
    champion(made, "tiny_recall", 0)
    place = made.folder.path / "champions"
    commit_all(made, {LORA: ago(60)})
    replaced = made.runs[0].key
    write_json(place / f"tiny_recall.before-{ago(50)}" / EVALUATION, {"run_key": replaced})
    write_json(place / f"tiny_recall.next-{ago(0)}" / EVALUATION, {"run_key": replaced})
    write_json(place / "tiny_recall.refused.json", {"rolled_back": []})
    write_json(place / f"tiny_gone.before-{ago(50)}" / EVALUATION, {"run_key": "x"})
    commit_all(made, {})
    results(made, 0, 1, 2)  # by these another run is the best
    night(made, 0)
    frontier(made, {})
    listed = set(reasons(capsys, made))
    assert {name for name in listed if name.startswith("champions/")} == {f"champions/tiny_gone.before-{ago(50)}"}
    assert not {f"runs/{standing}", f"runs/{replaced}"} & listed


def test_without_nights_a_champion_that_was_brought_back_stays(made: Made, capsys: Output) -> None:
    made.begin()
    commit_all(made, {})
    results(made, 0, 1, 2)
    champion(made, "tiny_recall", 0, "broken")
    assert set(reasons(capsys, made)) == {"champions/tiny_recall"}  # the run 2 is the best
    write_json(made.folder.path / "champions" / "tiny_recall.refused.json", {"rolled_back": []})
    assert reasons(capsys, made) == {}


def test_while_a_night_runs_nothing_is_deleted(anywhere: Made, capsys: Output) -> None:
    made = anywhere.begin()
    night(made, 20)
    night(made, 0)
    with hold(NightsFolder.of(made.spec).lease):
        before = {name for name in inventory(made.folder.path) if ".lease" not in name}
        assert f"in use by {holder()}" in gc(capsys, made, "--delete", code=75)
        assert "nothing can be deleted now" in gc(capsys, made)
        assert {name for name in inventory(made.folder.path) if ".lease" not in name} == before
    with hold(made.folder.path):
        assert f"in use by {holder()}" in gc(capsys, made, "--delete", code=75)
    assert "now deleted" in gc(capsys, made, "--delete")


def test_a_first_night_that_begins_meanwhile_loses_nothing(
    made: Made, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.begin()
    write_bytes(made.folder.path / ".tmp-left", b"x")
    draft = NightsFolder.of(made.spec).night(ago(0)).path / ".tmp-1"
    real = jobs.gc.stale_in

    def then_a_night(*arguments: Any) -> Any:
        write_bytes(draft, b"is being written")
        return real(*arguments)

    monkeypatch.setattr(jobs.gc, "stale_in", then_a_night)
    gc(capsys, made, "--delete")
    assert draft.exists()
    assert not (made.folder.path / ".tmp-left").exists()


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_damaged_verdict_ends_the_look_and_its_remedy_works(made: Made, capsys: Output, content: str) -> None:
    made.begin()
    night(made, 20)
    night(made, 0)
    file = NightsFolder.of(made.spec).night(ago(20)).night_json
    file.write_text(content)
    said = gc(capsys, made, "--delete", code=2)
    assert f"{file} is damaged" in said
    assert "or delete it" in said
    file.unlink()
    assert f"nights/{ago(20)}/canary/runs" in gc(capsys, made)


def test_a_damaged_row_is_passed_over_and_the_nights_own_file_tells(made: Made, capsys: Output) -> None:
    made.begin()
    night(made, 200, "ruler_moved")
    night(made, 199, "within_noise")
    night(made, 0)
    before = reasons(capsys, made)
    NightsFolder.of(made.spec).rows.write_text('{"night": 3\n[]\n{"night": "2027-01-01"}\n' + "[" * 100_000 + "\n")
    assert reasons(capsys, made) == before


def test_the_frontier_that_a_night_writes_before_the_lease_is_taken_counts(
    made: Made, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe was read with the frontier of an instant ago."""
    made.begin()
    commit_all(made, {})
    new = commit_all(made, {LORA: ago(0)})
    night(made, 20)
    frontier(made, {})
    real = jobs.gc.stale_in

    def then_a_frontier(*arguments: Any) -> Any:
        frontier(made, {LORA: ago(0)})
        return real(*arguments)

    monkeypatch.setattr(jobs.gc, "stale_in", then_a_frontier)
    gc(capsys, made, "--delete")
    assert new <= all_runs(made)


def test_the_list_as_data_names_nights(made: Made, capsys: Output) -> None:
    made.begin()
    night(made, 20)
    night(made, 0)
    assert run_job("gc", "", jobs.gc.main, [*made.words, "--json"], jobs.gc.add_options) == 0
    content = json.loads(capsys.readouterr().out)
    sizes = {row["name"]: (row["files"], row["size"]) for row in content["stale"]}
    assert sizes[f"nights/{ago(20)}/canary/runs"][0] >= 5
    assert sizes[f"nights/{ago(20)}/canary/runs"][1] > 1000
