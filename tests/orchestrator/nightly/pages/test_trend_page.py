"""The trend page: all nights and all cells, whatever their number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from orchestrator.nightly.history import in_order, row_of
from orchestrator.nightly.pages.trend_view import lane_of
from orchestrator.nightly.pages.write import render_trend, write_pages
from tests.helpers.nights import CELLS, bad_night, cell, night, story
from tests.orchestrator.nightly.pages.test_night_page import HOSTILE, hostile_night
from tests.orchestrator.report.pages import Page


@pytest.fixture(scope="module")
def year() -> str:
    return render_trend(bad_night(), story(399))


def test_400_nights_are_all_there_the_newest_first_and_in_a_page_of_less_than_a_megabyte(year: str) -> None:
    nights = re.findall(r'<tr><th scope="row"><a href="([\d-]+)/index.html">', year)
    assert len(nights) == 400
    assert nights == sorted(nights, reverse=True)
    assert len(year) < 1_000_000
    assert "370 older nights" in Page(year).text


def test_it_is_well_formed_and_needs_nothing_from_outside(year: str) -> None:
    page = Page(year)
    assert not re.search(r"https?://|//cdn|@import|url\(", year)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    figures = [attrs for attrs in page.all("svg") if attrs.get("aria-hidden") != "true"]
    assert all(attrs["role"] == "img" and set(attrs["aria-labelledby"].split()) <= set(ids) for attrs in figures)


def test_every_cell_has_accuracy_time_and_memory_and_its_numbers_as_csv(year: str) -> None:
    page = Page(year)
    for task, method in CELLS:
        assert f"{method} on {task} accuracy, in percent" in page.text
    assert (
        page.text.count("training seconds") == page.text.count("peak memory, in MiB") == 10
    )  # five cells have both, each a caption and a title
    table = unquote(next(attrs["href"] for attrs in page.all("a") if attrs["href"].startswith("data:")))
    lines = table.partition(",")[2].splitlines()
    assert lines[0] == "night,verdict,accuracy,seconds,memory"
    assert len(lines) == 401


def test_every_verdict_has_a_lane_with_its_nights(year: str) -> None:
    rows = in_order([*story(399), row_of(bad_night())])
    for verdict, words in {"worse": "worse", "ruler_moved": "ruler moved", "incomplete": "incomplete"}.items():
        nights = [row["night"] for row in rows if row["verdict"] == verdict]
        assert f"{words}: {len(nights)} night{'s' if len(nights) > 1 else ''}, the last {nights[-1]}" in year
        assert sum(length for _, length in lane_of(verdict, rows).spans) == len(nights) >= 1


def test_nights_that_follow_each_other_are_one_span() -> None:
    rows: list[dict[str, Any]] = [{"night": str(day), "verdict": verdict} for day, verdict in enumerate(
        ["same_bytes", "worse", "worse", "same_bytes", "worse"])]  # fmt: skip
    assert lane_of("worse", rows).spans == [(1, 2), (4, 1)]


def test_text_from_outside_is_text() -> None:
    rows = [row_of(hostile_night() | {"night": f"2026-11-{day:02}"}) for day in range(1, 28)]
    text = render_trend(hostile_night(), rows)
    page = Page(text)
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert "<script>alert(1)</script>" in page.text
    assert HOSTILE[:20] not in text


def test_a_row_of_an_earlier_version_that_lacks_all_that_may_be_missing_is_shown() -> None:
    assert "2026-11-01" in render_trend(night(), [{"night": "2026-11-01", "verdict": "worse"}])


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        write_pages(tmp_path, bad_night(), story(10))
        pages = [(tmp_path / name).read_bytes() for name in ("index.html", "2026-11-28/index.html")]
    assert pages == [(tmp_path / name).read_bytes() for name in ("index.html", "2026-11-28/index.html")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2026-11-28", "index.html"]


def test_a_cell_that_only_earlier_nights_had_keeps_its_panels() -> None:
    rows = [row_of(night(name="2026-11-27", cells=[cell("gone", "lora")]))]
    assert "lora on gone" in Page(render_trend(night(), rows)).text
