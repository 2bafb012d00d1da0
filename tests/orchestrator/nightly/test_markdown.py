"""A night as Markdown: what it says, and that foreign text in it is text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.nightly.markdown import MOST_CELLS, escaped, fenced, night_as_markdown, quoted
from orchestrator.nightly.step_summary import write_summary
from orchestrator.wording import MINUS
from tests.helpers.nights import bad_night, cell, night
from tests.orchestrator.nightly.pages.test_night_page import HOSTILE, hostile_night


def test_it_says_verdict_culprit_changes_cells_and_commands() -> None:
    text = night_as_markdown(bad_night())
    assert text.startswith("## quickstart, night of 2026-11-28: worse\n\nd2lora on tiny\\_recall lost 4.8 points")
    for shown in (
        "6 cells: 1 worse, 1 suspected, 1 with other bits only, 1 better, 1 new, 1 never passed.",
        "### The culprit: d2lora on tiny\\_recall",
        "| version torch | 2.13.0 | 2.13.1 | 2026-11-28 |",
        "- item 17: `Which of these towns lies north of the river Olm?`: right became wrong",
        "| d2lora on tiny\\_recall | worse | 69.4 % | 74.2 % (12 nights: 73.0 to 75.4) "
        f"| {MINUS}4.80 ({MINUS}7.10 to {MINUS}2.50) "
        "| &lt; 0.001 | 1 |",
        f"The confirmation with fresh seeds holds: {MINUS}4.60 points, p &lt; 0.001.",
        "Frontier: 0 trained, 40 kept.",
        "- champion of tiny\\_recall: refused, It is found worse than the standing one.",
        "The night took 5 min 12 s, its training 3 min 25 s, at $0.31.",
        "```text\npython jobs/nightly.py recipes/nightly.yaml night=2026-11-28\n```",
    ):
        assert shown in text


def test_every_row_of_a_table_has_as_many_cells_as_its_header() -> None:
    for content in (bad_night(), hostile_night(), night()):
        tables = re.findall(r"(?:^\|.*\|$\n?)+", night_as_markdown(content), re.MULTILINE)
        assert tables
        for table in tables:
            assert len({line.count("|") for line in table.strip().splitlines()}) == 1


def test_foreign_text_is_neither_html_nor_markup_nor_a_mention() -> None:
    text = night_as_markdown(hostile_night() | {"line": "@everyone [x](javascript:1) **b** `c` https://evil.example"})
    outside = re.sub(r"(`+)[^`].*?\1", "", re.sub(r"(?s)(```+)text\n.*?\n\1", "", text))
    assert not re.search(r"<\w|</", outside)
    assert "@everyone" not in text
    assert "\\[x\\](javascript:1) \\*\\*b\\*\\* \\`c\\` https:\u200b//evil.example" in text


@pytest.mark.parametrize("text", ["a`b", "``", "`", "x ``` y", HOSTILE, ""])
def test_code_ends_where_it_is_meant_to(text: str) -> None:
    line, block = quoted(text), fenced(text)
    ticks = re.match("`+", line)
    assert text == "" or (ticks and line.endswith(ticks[0]) and ticks[0] not in text)
    fence = block.splitlines()[-1]
    assert len(fence) >= 3
    assert fence not in text


def test_a_text_of_many_lines_and_signs_is_one_line_and_is_cut() -> None:
    assert escaped("a\n\n# b\r\x00c\u2028d") == "a \\# b c d"
    assert len(escaped("x" * 5000)) == 300


def test_of_many_cells_the_worst_are_listed() -> None:
    cells = [cell("t", f"m{number}") for number in range(100)] + [cell("t", "bad", "worse")]
    text = night_as_markdown(night("worse", cells=cells))
    assert text.count("| m") == MOST_CELLS - 1
    assert "| bad on t | worse |" in text
    assert "and 41 more cells on the page." in text


def test_a_night_that_measured_nothing_has_its_lines() -> None:
    text = night_as_markdown({"night": "2026-11-28", "verdict": "incomplete", "broken": "The canary did not start."})
    assert "incomplete\n\nThe canary did not start.\n\n0 cells: none judged." in text


def test_it_is_appended_to_the_summary_of_a_step_and_a_file_that_cannot_be_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    step = tmp_path / "step.md"
    step.write_text("before\n")
    write_summary(tmp_path / "night", night(), said.append, {"GITHUB_STEP_SUMMARY": str(step)})
    assert step.read_text() == f"before\n{night_as_markdown(night())}\n"
    assert (tmp_path / "night/summary.md").read_text() == night_as_markdown(night())
    assert said == []
    told = night(line="Other words.")
    for _ in range(2):
        write_summary(tmp_path / "night", told, said.append, {"GITHUB_STEP_SUMMARY": str(step)})
    assert step.read_text() == f"before\n{night_as_markdown(told)}\n"
    write_summary(tmp_path / "night", night(), said.append, {"GITHUB_STEP_SUMMARY": str(tmp_path)})
    assert said == [f"GITHUB_STEP_SUMMARY={tmp_path} cannot be written to: Is a directory. The night's summary is "
                    f"{tmp_path / 'night/summary.md'}"]  # fmt: skip
    write_summary(tmp_path / "night", night(), said.append, {})
    assert len(said) == 1
