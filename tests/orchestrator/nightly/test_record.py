"""What nights leave on disk comes back as it was; what is damaged or missing counts as incomplete, and is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.nightly.record import (
    NOWHERE,
    history,
    over,
    read_losses,
    read_rows,
    write_measured,
    write_night,
    write_rows,
)
from orchestrator.store.nights_folder import NightFolder, NightsFolder
from orchestrator.verdict.night import Anchor, CanaryRun, Night, World
from tests.helpers.nights import night as night_json

WORLD = World("CPU, 1 worker", {"torch": "2.13"}, None, "c0de", "base", {"t": "rows"}, "s")
RUN = CanaryRun("t", "lora", 0, False, "committed", "k", "d1", "1101", eval_loss=0.1 + 0.2, seconds=1.5, bytes=7)
LOSSES = {("t", "lora", 0): [0.1 + 0.2, 1 / 3]}


@pytest.fixture
def nights(tmp_path: Path) -> NightsFolder:
    return NightsFolder(tmp_path / "nights")


def measured(name: str, **values: object) -> Night:
    anchor = Anchor("base", "t", "base", "1101", (-0.1, -1 / 3, -2.0, -0.5))
    return replace(Night(name, WORLD, (RUN,), (anchor,)), **values)


def over_night(nights: NightsFolder, name: str, status: str = "same_bytes") -> NightFolder:
    folder = nights.night(name)
    write_measured(folder, measured(name, status=status, since=name, cells=(("t", "lora", "unchanged"),)), LOSSES)
    return folder


def read(nights: NightsFolder, before: str = "2026-12-01") -> tuple[list[Night], list[str]]:
    said: list[str] = []
    return history(nights, before, said.append), said


def test_a_night_comes_back_to_the_last_bit(nights: NightsFolder) -> None:
    folder = over_night(nights, "2026-11-27")
    (again,), said = read(nights)
    assert said == []
    assert (again.world, next(iter(again.runs)), again.status) == (WORLD, RUN, "same_bytes")
    assert list(again.anchors[0].scores) == [-0.1, -1 / 3, -2.0, -0.5]
    assert again.marks == {("t", "lora"): "unchanged"}
    assert read_losses(folder) == LOSSES


def test_only_earlier_nights_are_history_and_the_oldest_comes_first(nights: NightsFolder) -> None:
    for name in ("2026-11-28", "2026-11-26", "2026-11-27"):
        over_night(nights, name)
    assert [night.name for night in read(nights, "2026-11-28")[0]] == ["2026-11-26", "2026-11-27"]


def test_a_night_whose_measurements_gc_has_deleted_is_no_history(nights: NightsFolder) -> None:
    for name in ("2026-11-26", "2026-11-27"):
        write_night(over_night(nights, name), {"night": name, "verdict": "same_bytes", "status": "over"})
    nights.night("2026-11-26").measured.unlink()
    both, said = read(nights)
    assert ([night.name for night in both], said) == (["2026-11-27"], [])


def test_a_night_that_was_broken_off_counts_as_incomplete(nights: NightsFolder) -> None:
    nights.night("2026-11-26").path.mkdir(parents=True)
    write_measured(nights.night("2026-11-27"), measured("2026-11-27"), LOSSES)  # measured, and no verdict
    both, _ = read(nights)
    assert [(night.status, night.broken) for night in both] == [
        ("incomplete", "it was broken off before it was measured"),
        ("incomplete", "it was broken off before its verdict"),
    ]
    assert both[0].world == NOWHERE


@pytest.mark.parametrize("damage", ["cut", "flipped", "edited", "not json"])
def test_a_damaged_night_counts_as_incomplete_and_is_said_with_its_place(nights: NightsFolder, damage: str) -> None:
    folder = over_night(nights, "2026-11-27")
    content = folder.measured.read_text()
    changed = {"cut": content[:100], "flipped": content.replace("1101", "1111", 1), "not json": "{"}
    changed["edited"] = content.replace("same_bytes", "better", 1)
    folder.measured.write_text(changed[damage])
    (night,), said = read(nights)
    assert (night.status, night.runs) == ("incomplete", ())
    assert str(folder.measured) in night.broken
    assert "counts as incomplete. Bring the file back from a copy" in said[0]
    folder.measured.write_text(content)  # the remedy
    assert read(nights)[0][0].status == "same_bytes"


def test_losses_that_are_damaged_name_no_step(nights: NightsFolder) -> None:
    folder = over_night(nights, "2026-11-27")
    folder.losses.write_text(folder.losses.read_text().replace("0.333", "0.334"))
    assert read_losses(folder) == {}


def test_a_night_is_over_only_if_its_verdict_is_whole_and_says_so(nights: NightsFolder) -> None:
    folder = nights.night("2026-11-28")
    assert over(folder) is None
    write_night(folder, night_json(status="telling"))
    assert over(folder) is None
    write_night(folder, night_json(status="over"))
    again = over(folder)
    assert again is not None
    assert write_night(folder, again) == again  # its seal does not grow
    folder.night_json.write_text(folder.night_json.read_text().replace("same_bytes", "better"))
    assert over(folder) is None


def test_rows_that_are_missing_or_damaged_come_from_the_nights_themselves(nights: NightsFolder) -> None:
    for name in ("2026-11-26", "2026-11-27"):
        write_night(nights.night(name), night_json(name=name, status="over"))
    said: list[str] = []
    rows = read_rows(nights, said.append)
    assert ([row["night"] for row in rows], said) == (["2026-11-26", "2026-11-27"], [])
    write_rows(nights, [*reversed(rows)])
    lines = nights.rows.read_text().splitlines(keepends=True)
    nights.rows.write_text(lines[0][:40] + "\n" + lines[1])
    assert read_rows(nights, said.append) == rows
    assert f"{nights.rows}:1: this row is damaged" in said[0]


def test_the_row_of_a_night_whose_folder_is_gone_stays(nights: NightsFolder) -> None:
    write_rows(nights, [{"night": "2024-01-01", "verdict": "same_bytes"}])
    assert read_rows(nights, lambda _: None) == [{"night": "2024-01-01", "verdict": "same_bytes"}]
