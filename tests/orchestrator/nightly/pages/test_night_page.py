"""The page of a night: one file that stands alone, says what a night must say, and trusts no string."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from orchestrator.nightly.pages.write import render_night, write_pages
from orchestrator.wording import MINUS
from tests.helpers.nights import CELLS, bad_night, cell, night, story
from tests.orchestrator.report.pages import Page

HOSTILE = "</td></table><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}\u202e"


@pytest.fixture(scope="module")
def bad() -> str:
    return render_night(bad_night(), story(60))


def parts_of(text: str) -> dict[str, str]:
    """Return the words of each section, by its id."""
    parts = re.split(r'<section id="(\w+)"', text)
    return {name: Page(f"<section {body}".partition("</section>")[0] + "</section>").text for name, body in
            zip(parts[1::2], parts[2::2], strict=True)}  # fmt: skip


def test_it_is_well_formed_and_needs_nothing_from_outside(bad: str) -> None:
    page = Page(bad)
    assert not re.search(r"https?://(?!hooks)|//cdn|@import|url\(", bad)
    assert not {"script", "link", "img", "iframe", "form"} & {tag for tag, _ in page.tags}
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") or name == "style" for name in attrs)]


def test_what_a_night_must_say_stands_in_its_order(bad: str) -> None:
    sections = [attrs["id"] for attrs in Page(bad).all("section")]
    assert sections == [
        *("culprit", "changed", "cells", "nights", "better", "apart", "anchors", "evidence", "frontier", "champions"),
        *("cost", "reading"),
    ]
    words = Page(bad).text
    assert "worse d2lora on tiny_recall lost 4.8 points since tonight; confirmed with 5 fresh seeds." in words
    assert "6 cells in all 1 worse 1 suspected 1 with other bits only 1 better 1 new 1 never passed" in words
    assert "Told to https://hooks.example.com, at attempt 2." in words


def test_every_cell_stands_once_and_in_the_section_of_its_status(bad: str) -> None:
    parts = parts_of(bad)
    for section, names in {
        "cells": ["d2lora on tiny_recall", "lora on tiny_recall", "d2lora on tiny_above"],
        "better": ["lora on tiny_above"],
        "apart": ["lora on tiny_new", "d2lora on tiny_new"],
    }.items():
        rows = re.findall(r"(\w+ on \w+) (?:worse|suspected|bits moved|better|never passed|new) ", parts[section])
        assert rows == names


def test_a_cells_row_has_all_that_a_cell_needs(bad: str) -> None:
    row = parts_of(bad)["cells"]
    for shown in (
        *(
            "69.4 %",
            "74.2 %",
            "12 nights 73.0 to 75.4",
            f"{MINUS}4.80",
            f"{MINUS}7.10 to {MINUS}2.50",
            "< 0.001",
            "since 2026-11-28",
        ),
        *("seed 0, from step 3: loss 1.3921, now 1.4108", "8.4 s", "512 MiB"),
        "python jobs/nightly.py recipes/nightly.yaml night=2026-11-28",
    ):
        assert shown in row
    assert 'href="canary/report.html"' in bad


def test_the_culprit_is_told_with_its_flipped_items_its_changes_and_what_repeats_it(bad: str) -> None:
    words = parts_of(bad)["culprit"]
    for shown in (
        *("The culprit: d2lora on tiny_recall", "First bad night 2026-11-28", "Last good night 2026-11-27"),
        *("commit 4f1c2d9 b07a11e 2026-11-28", "version torch 2.13.0 2.13.1", "--bisect 4f1c2d9..b07a11e"),
        *("Flipped items: 31 lost, 7 won; 3 shown", "Which of these towns lies north of the river Olm? right wrong"),
        *("How many lamps has the harbour of Terrin? right right in 50 % of runs",),
    ):
        assert shown in words
    assert f"sources {'1f' * 6} {'2e' * 6}" in words  # of a digest its beginning


def test_evidence_frontier_champions_anchors_and_cost_are_there(bad: str) -> None:
    parts = parts_of(bad)
    assert "p 1.8e-05; a candidate at 0.00027 or below; joined over 4 cells" in parts["evidence"]
    assert (
        f"holds with 5 fresh seeds : {MINUS}4.60 points ({MINUS}6.80 to {MINUS}2.40), p < 0.001; d2lora on tiny_recall"
        in (parts["evidence"].replace("seeds:", "seeds :"))
    )
    assert "0 trained, 40 kept" in parts["frontier"]
    assert f"tiny_recall refused e5e5e5e5e5e5 a1a1a1a1a1a1 {MINUS}4.10 0.003 It is found worse" in parts["champions"]
    assert "python jobs/roll_back.py" in parts["champions"]
    assert "base tiny_recall no 26.2 % 26.2 % 0 0" in parts["anchors"]
    assert "The night 5 min 12 s Training in it 3 min 25 s Cost $0.31" in parts["cost"]


def test_every_table_has_a_caption_every_header_a_scope_and_every_wide_region_the_keyboard(bad: str) -> None:
    page = Page(bad)
    assert len(page.all("table")) == len(page.all("caption")) >= 7
    assert all(attrs.get("scope") in ("col", "row") for attrs in page.all("th"))
    wide = [attrs for attrs in page.all("div") if attrs.get("class") == "scroll"]
    assert len(wide) == len(page.all("table"))
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] and attrs["role"] == "region" for attrs in wide)


def test_every_figure_has_its_words_ids_are_unique_and_links_within_arrive(bad: str) -> None:
    page = Page(bad)
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    figures = [attrs for attrs in page.all("svg") if attrs.get("aria-hidden") != "true"]
    assert len(figures) == 5  # one cell has never passed
    assert all(attrs["role"] == "img" and set(attrs["aria-labelledby"].split()) <= set(ids) for attrs in figures)
    assert {attrs["href"][1:] for attrs in page.all("a") if attrs["href"].startswith("#")} <= set(ids)


def test_it_has_one_first_heading_and_no_level_is_skipped(bad: str) -> None:
    levels = [int(tag[1]) for tag, _ in Page(bad).tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def hostile_night() -> dict[str, Any]:
    """Return a night in which every text that somebody else may choose is hostile."""
    lost = bad_night()
    flip = {"index": HOSTILE, "before": HOSTILE, "after": HOSTILE, "question": HOSTILE}
    change = {"what": HOSTILE, "name": HOSTILE, "before": HOSTILE, "after": HOSTILE, "since": HOSTILE}
    one = cell(HOSTILE, HOSTILE, "worse", command=HOSTILE, link="javascript:alert(3)", flips=[flip], first_bad=HOSTILE)
    culprit = lost["culprit"] | {"task": HOSTILE, "method": HOSTILE, "changed": [change], "flips": [flip],
                                 "command": HOSTILE, "bisect": HOSTILE, "first_bad": HOSTILE}  # fmt: skip
    return night(
        "worse", name="2026-11-28", cells=[one, cell(HOSTILE, "m", HOSTILE)], line=HOSTILE, changed=[change],
        culprit=culprit, broken=HOSTILE, notes=[HOSTILE], told={"to": HOSTILE, "status": "failed", "problem": HOSTILE},
        frontier={"trained": 0, "kept": 0, "renewed": {HOSTILE: HOSTILE}, "why": HOSTILE},
        champions=[{"task": HOSTILE, "run_key": HOSTILE, "standing": HOSTILE, "decision": HOSTILE, "why": HOSTILE}],
        series={"machine": HOSTILE, HOSTILE: {HOSTILE: HOSTILE}}, commands={"again": HOSTILE, "roll_back": HOSTILE},
    ) | {"name": HOSTILE}  # fmt: skip


def test_text_from_outside_is_text_and_a_script_is_no_link() -> None:
    text = render_night(hostile_night(), story(5))
    page = Page(text)
    tags = {tag for tag, _ in page.tags}
    assert not {"script", "img"} & tags
    assert "javascript:" not in text
    assert "{{7*7}}" in page.text
    assert page.text.count("<script>alert(1)</script>") >= 20


def test_the_first_night_has_a_page_without_a_night_before_it(tmp_path: Path) -> None:
    first = night(cells=[cell(*one, "new", baseline=None, difference=None, p=None, bytes=None) for one in CELLS])
    write_pages(tmp_path, first, [])
    text = (tmp_path / "2026-11-28/index.html").read_text(encoding="utf-8")
    assert "←" not in text
    assert "No cell could be judged tonight." in text
    assert len(Page(text).all("circle")) == 9  # per cell a value, which is the last one; and the legend
    assert "1 night" in Page((tmp_path / "index.html").read_text(encoding="utf-8")).text


def test_a_night_that_measured_nothing_has_a_page() -> None:
    text = render_night({"night": "2026-11-28", "verdict": "incomplete", "broken": "The canary did not start."}, [])
    words = Page(text).text
    assert "incomplete" in words
    assert "The canary did not start." in words
    assert "0 cells in all" in words


def test_nights_after_it_are_not_on_its_page() -> None:
    later = story(40)
    text = render_night(night(name=later[20]["night"]), later)
    assert later[21]["night"] not in text
    assert f"night of {later[19]['night']}" in text


def test_its_row_is_taken_from_the_night_itself_and_not_from_an_older_try() -> None:
    stale = [*story(3), {"night": "2026-11-28", "verdict": "incomplete", "line": "", "cells": []}]
    assert "1 night broken" not in Page(render_night(night(), stale)).text
