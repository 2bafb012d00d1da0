"""Rows on disk, tables and the picture."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks.measuring.measure import ITSELF, Target, alone, compare
from benchmarks.measuring.picture import draw, shown
from benchmarks.measuring.rows import Measured, append, latest
from benchmarks.measuring.tables import page, summary, verdict


def measured(bench: str = "speed", ours: float = 1.2) -> Measured:
    samples = {"peer": [1.0, 1.1, 1.0], "ours": [ours, ours, ours]}
    targets = {"ours": Target(1.5, "at most", "peer")}
    rows = compare(bench, "small | large", samples, reference="peer", unit="s", targets=targets, notes={"ours": "hi"})
    rows.append(alone(bench, "plan", "memory", [2000.0], unit="MB", target=Target(1000, "at most", ITSELF)))
    return Measured(bench, True, 3.2, tuple(rows))


def test_rows_come_back_as_they_were_and_the_file_is_strict_json(tmp_path: Path) -> None:
    file = tmp_path / "new" / "results.jsonl"
    append(file, "run 1", measured())
    lines = file.read_text().splitlines()
    assert not any("NaN" in line for line in lines)
    (back,) = latest(lines, ["speed"])
    assert back.results[:2] == measured().results[:2]
    assert math.isnan(back.results[2].ratio)
    assert (back.quick, back.seconds, back.error) == (True, 3.2, None)


def test_the_latest_run_of_each_bench_counts_in_the_order_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    append(file, "run 1", measured("speed", 1.9))
    append(file, "run 1", measured("size"))
    append(file, "run 2", measured("speed", 1.1))
    benches = latest(file.read_text().splitlines(), ["size", "speed", "never run"])
    assert [one.bench for one in benches] == ["size", "speed"]
    assert benches[1].results[1].median == 1.1


def test_a_failed_bench_leaves_its_error_and_one_without_rows_says_so(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    append(file, "run 1", Measured("speed", False, 1.0, error="ValueError: no"))
    append(file, "run 1", Measured("size", False, 1.0))
    speed, size = latest(file.read_text().splitlines(), ["speed", "size"])
    assert (speed.error, size.error) == ("ValueError: no", "it gave no rows")
    assert "**Failed**: `ValueError: no`" in page([speed, size], {}, [], "a day")
    assert json.loads(file.read_text().splitlines()[0])["run"] == "run 1"


def test_the_page_has_machine_targets_and_a_table_a_bench() -> None:
    text = page([measured()], {"speed": "(a) Speed"}, ["a processor"], "a day")
    assert "a processor" in text
    assert "## (a) Speed" in text
    assert "1 of 2 targets met. Missed: speed, plan: memory at most 1000 MB." in text
    header, rule, first, *_ = [line for line in text.splitlines() if line.startswith("|")]
    assert header.count("|") == rule.count("|") == first.replace("\\|", "").count("|")
    assert "| small \\| large | peer | 1 | 1-1.1 | s |  |  | reference |" in text


def test_no_target_no_verdict() -> None:
    assert summary([]) == "0 of 0 targets met."
    assert verdict(measured().results[0]) == ""


@pytest.mark.parametrize(
    ("ours", "words"),
    [([1.0, 1.1, 1.0], "yes"), ([2.0, 2.1, 2.0], "**no**"), ([1.4, 1.4, 1.7], "(yes)"), ([1.7, 1.6, 1.4], "(**no**)")],
)
def test_a_verdict_within_the_noise_is_in_brackets(ours: list[float], words: str) -> None:
    targets = {"ours": Target(1.5, "at most", "peer")}
    rows = compare("b", "c", {"peer": [1.0] * 3, "ours": ours}, reference="peer", unit="s", targets=targets)
    assert verdict(rows[1]) == words


def test_the_picture_shows_ratios_to_other_arms_and_is_drawn(tmp_path: Path) -> None:
    assert [(row.arm, row.reference) for row in shown(measured().results)] == [("ours", "peer")]
    draw([measured()], {}, tmp_path / "some.png")
    assert (tmp_path / "some.png").stat().st_size > 1000
    draw([Measured("speed", True, 1.0, error="no")], {}, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
