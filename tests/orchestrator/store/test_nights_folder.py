"""Where nights lie; in an object store every machine sees the nights of every other, and forgets what is gone there."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from orchestrator import objects
from orchestrator.errors import HeldError
from orchestrator.files import read_json, write_bytes, write_json, write_lines
from orchestrator.nightly.telling.records import Records
from orchestrator.recipe.read import read_recipe
from orchestrator.store.lease import hold, holder
from orchestrator.store.nights_folder import NightFolder, NightsFolder, date_of
from orchestrator.store.sweep_folder import SweepFolder
from tests.helpers.folders import Made
from tests.helpers.stores import BUCKET, machine, server, store  # noqa: F401 - fixtures

FIRST, SECOND, THIRD = "2027-02-27", "2027-02-28", "2027-03-01"


def nights(name: str) -> NightsFolder:
    """Return the nights of one sweep as the machine ``name`` sees them."""
    return NightsFolder(machine(name) / "small" / "nights")


def write_night(folder: NightFolder, verdict: str = "same_bytes") -> None:
    """Write what a night that is over leaves."""
    write_json(folder.measured, {"name": folder.name, "verdict": verdict})
    write_json(folder.losses, {"runs": []})
    write_json(folder.anchors, [])
    write_json(folder.frontier, {"methods": {}})
    write_bytes(folder.page, b"<html></html>")
    write_bytes(folder.markdown, b"# night")
    write_bytes(folder.canary.results, b"{}\n")
    write_json(folder.night_json, {"night": folder.name, "verdict": verdict, "status": "over"})


@pytest.mark.parametrize("name", ["2027-02-28", "2028-02-29"])
def test_a_date_is_a_night(name: str) -> None:
    assert date_of(name) == date.fromisoformat(name)


@pytest.mark.parametrize(
    "name", ["2027-02-29", "2027-2-3", "20270228", "2027-02-28x", "canary", "", "\uff12027-02-28", "2027-W08-7"]
)
def test_what_is_no_date_is_no_night(name: str) -> None:
    assert date_of(name) is None


def test_nights_are_listed_by_date_and_nothing_else_is(tmp_path: Path) -> None:
    folder = NightsFolder(tmp_path / "nights")
    assert (folder.nights, folder.newest, folder.have_begun()) == ([], None, False)
    for name in (SECOND, FIRST, "2027-02-30", "notes"):
        (folder.path / name).mkdir(parents=True)
    (folder.path / "2027-05-05").write_text("a file")
    assert [night.name for night in folder.nights] == [FIRST, SECOND]
    assert folder.newest == folder.night(SECOND)
    assert folder.have_begun()
    folder.fetch()  # nothing to fetch on a disk, and nothing goes
    assert len(list(folder.path.iterdir())) == 5


def test_every_file_of_a_night_has_a_place_of_its_own(tmp_path: Path) -> None:
    made = Made(tmp_path, str(tmp_path / "sweeps"))
    folder = NightsFolder.of(made.spec)
    assert folder.lease == folder.path == made.folder.path / "nights"
    assert folder.rows == made.folder.path / "nights.jsonl"
    night = folder.night(FIRST)
    files = [
        night.measured, night.losses, night.anchors, night.frontier, night.night_json, night.told, night.page,
        night.markdown, night.canary.path, night.fresh.path, night.confirm.path, night.bisect, folder.frontier,
        folder.trend, folder.rows,
    ]  # fmt: skip
    assert len(set(files)) == len(files)
    Records(night.path).write("id", {"status": "told"})
    assert night.told.exists()


@pytest.mark.parametrize("storage", ["{tmp}/sweeps", "s3://sweeps/all"])
def test_a_sweep_in_the_nights_storage_lies_in_the_nights_folder(
    tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(objects.NEAR_HOME, str(tmp_path / "near"))
    made = Made(tmp_path, storage.format(tmp=tmp_path))
    night = NightsFolder.of(made.spec).night(FIRST)
    for name, folder in (("canary", night.canary), ("fresh", night.fresh), ("confirm", night.confirm)):
        spec = read_recipe(made.path, [f"storage={night.storage}", f"name={name}"])
        assert SweepFolder.of(spec) == folder
    spec = read_recipe(made.path, [f"storage={night.bisect_storage}", "name=one"])
    assert SweepFolder.of(spec).path == night.bisect / "one"


def test_another_machine_fetches_what_a_night_reads_and_no_more(store: Any) -> None:  # noqa: F811
    here, there = nights("a"), nights("b")
    for name in (FIRST, SECOND):
        write_night(here.night(name))
    write_json(here.frontier, {"methods": {}})
    write_lines(here.rows, [{"night": FIRST, "verdict": "same_bytes"}])
    write_bytes(here.trend, b"<html></html>")
    write_bytes(here.night(THIRD).canary.sweep, b"{}")  # a night that was killed in its canary
    assert there.have_begun()
    there.fetch()
    assert [night.name for night in there.nights] == [FIRST, SECOND, THIRD]
    for name in (FIRST, SECOND):
        for file in ("measured", "losses", "anchors", "frontier", "night_json"):
            assert getattr(there.night(name), file).read_bytes() == getattr(here.night(name), file).read_bytes()
        assert not there.night(name).page.exists()
        assert not there.night(name).canary.path.exists()
    assert there.rows.read_bytes() == here.rows.read_bytes()
    assert there.frontier.exists()
    assert not there.trend.exists()


def test_all_that_is_written_through_files_is_in_the_store(store: Any) -> None:  # noqa: F811
    here = nights("a")
    write_night(here.night(FIRST))
    write_lines(here.rows, [{"night": FIRST}])
    root = f"{BUCKET}/all/small"
    near = {str(file.relative_to(here.path.parent)) for file in here.path.parent.rglob("*") if file.is_file()}
    assert {name.removeprefix(f"{root}/") for name in store.find(root)} == near
    assert f"nights/{FIRST}/summary.md" in near


def test_the_newest_night_is_fetched_anew_though_its_size_is_the_same_and_an_older_one_is_kept(
    store: Any,  # noqa: F811
) -> None:
    here, there = nights("a"), nights("b")
    write_night(here.night(FIRST), "within_noise")
    write_night(here.night(SECOND), "within_noise")
    there.fetch()
    write_night(here.night(FIRST), "better______")  # which a night never does
    write_night(here.night(SECOND), "worse_______")
    there.fetch()
    assert read_json(there.night(SECOND).night_json)["verdict"] == "worse_______"
    assert read_json(there.night(FIRST).night_json)["verdict"] == "within_noise"


def test_what_is_gone_from_the_store_is_forgotten_and_a_write_that_never_arrived_too(store: Any) -> None:  # noqa: F811
    here, there = nights("a"), nights("b")
    for name in (FIRST, SECOND):
        write_night(here.night(name))
    there.fetch()
    objects.remove(here.night(FIRST).path)
    objects.remove(here.night(SECOND).losses)
    there.night(SECOND).told.write_text("written near when the store was away")
    (there.path / THIRD).mkdir()
    there.fetch()
    assert [night.name for night in there.nights] == [SECOND]
    assert not there.night(SECOND).losses.exists()
    assert not there.night(SECOND).told.exists()
    assert there.night(SECOND).measured.exists()


def test_one_night_at_a_time_also_from_two_machines(store: Any) -> None:  # noqa: F811
    here, there = nights("a"), nights("b")
    with hold(here.lease), pytest.raises(HeldError, match=holder()), hold(there.lease):
        pytest.fail("two nights at once")
    with hold(there.lease):
        pass


def test_a_sweeps_own_start_fetches_no_night(store: Any) -> None:  # noqa: F811
    here = nights("a")
    write_night(here.night(FIRST))
    write_bytes(here.path.parent / "sweep.json", json.dumps({}).encode())
    there = SweepFolder(machine("b") / "small")
    there.fetch()
    assert there.sweep.exists()
    assert not (there.path / "nights").exists()
