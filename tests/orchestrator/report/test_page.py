"""The report: one file that stands alone, says everything, and trusts no string."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest

from orchestrator.report.gains import seconds_a_point
from orchestrator.wording import between, between_points, percent
from tests.orchestrator.report.pages import CHAMPION, SWEEP, Page, Written, run, sweep_rows, written


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return written(tmp_path_factory.mktemp("report"), sweep_rows(), SWEEP, {"arc_easy": CHAMPION})


def test_the_page_is_well_formed_and_needs_nothing_from_outside(whole: Written) -> None:
    text, _ = whole
    page = Page(text)
    assert not re.search(r"https?://|//cdn|@import|url\(", text)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    assert all(attrs["href"].startswith(("#", "runs/", "data:text/csv")) for attrs in page.all("a"))


def test_the_page_says_the_headline_and_every_claim(whole: Written) -> None:
    text, summary = whole
    words = Page(text).text
    for sentence in [summary["headline"], *summary["claims"]]:
        assert sentence in words


def test_every_table_has_a_caption_and_every_header_a_scope(whole: Written) -> None:
    page = Page(whole[0])
    assert len(page.all("table")) == len(page.all("caption")) >= 8
    assert all(attrs.get("scope") in ("col", "row") for attrs in page.all("th"))
    assert all(
        attrs.get("tabindex") == "0" and attrs.get("aria-label")
        for attrs in page.all("div")
        if attrs.get("class") == "scroll"
    )


def test_every_figure_has_its_words(whole: Written) -> None:
    page = Page(whole[0])
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    figures = [attrs for attrs in page.all("svg") if attrs.get("aria-hidden") != "true"]
    assert len(figures) == 13  # the average; a task: accuracies, differences, and two figures of two panels
    assert all(attrs["role"] == "img" and set(attrs["aria-labelledby"].split()) <= ids for attrs in figures)
    method = whole[1]["tasks"]["boolq"]["methods"]["d2lora"]
    assert f"d2lora: {percent(method['mean'])} ({between(method['interval'])})." in page.text


def test_ids_are_unique_and_every_link_arrives(whole: Written) -> None:
    page = Page(whole[0])
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"][1:] for attrs in page.all("a") if attrs["href"].startswith("#")} <= set(ids)


def test_it_has_one_first_heading_and_no_level_is_skipped(whole: Written) -> None:
    levels = [int(tag[1]) for tag, _ in Page(whole[0]).tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_figures_of_methods_champions_and_provenance_are_all_there(whole: Written) -> None:
    words = Page(whole[0]).text
    for shown in ("221,184", "0.0837", "31.4", "chance 25.0 %", "untrained base 38.1 %", "3e-4", "1e-3"):
        assert shown in words
    for shown in ("73.7 %", "73.6 %", "0.05", "3.1e-06", "812.0", "2.00"):
        assert shown in words
    assert "champions/<wbr>arc_easy" in whole[0]
    for shown in ("4f1c2d9", "torch 2.13.0", "2026-01-05 03:00 UTC", "python jobs/sweep.py recipes/quickstart.yaml"):
        assert shown in words


def test_the_figures_behind_the_headline_ones_are_on_the_page(whole: Written) -> None:
    words, summary = Page(whole[0]).text, whole[1]
    task = summary["tasks"]["arc_easy"]
    method, average = task["methods"]["d2lora"], summary["macro"]["methods"]["d2lora"]
    assert f"{seconds_a_point(method):.2f}" in words
    assert (
        f"{percent(average['mean'])} {between(average['bootstrap'])} {percent(average['iqm'])} {between(None)}" in words
    )
    assert (
        "for interquartile means, from 6 tasks of 5 seeds on; for the probability of beating another, from 10" in words
    )
    best = task["families"]["d2lora"][-1]
    assert best["n"] == 2
    assert f"{percent(best['validation'])} {percent(best['test'])}" in words
    chance = summary["macro"]["improvement"][0]
    assert f"{percent(chance['probability'])} {between(chance['interval'])}" in words
    assert "speed of evaluation, merged over unmerged 1.91 2.00 over 1 as much here" in words
    assert "arc_easy: merging changed 3 of 600 answers, +0.05 points." in words


def test_intervals_by_resampling_are_on_the_page_of_a_sweep_with_seeds_and_tasks_enough(tmp_path: Path) -> None:
    rows = [
        run(f"task{number}", name, seed, level + number / 50 + 0.003 * ((seed * (number + shift)) % 5))
        for number in range(1, 7)
        for name, level, shift in (("d2lora", 0.7, 0), ("lora", 0.69, 1))
        for seed in range(7)
    ]
    text, summary = written(tmp_path, rows)
    words, task, average = Page(text).text, summary["tasks"]["task3"], summary["macro"]["methods"]["d2lora"]
    method, pair = task["methods"]["d2lora"], task["differences"][0]
    assert method["bootstrap"] and pair["bootstrap"] and average["bootstrap"] and average["iqm_interval"]  # noqa: PT018
    assert between(method["bootstrap"]) in words
    assert between_points(pair["bootstrap"], 2) in words
    shown = (
        percent(average["mean"]),
        between(average["bootstrap"]),
        percent(average["iqm"]),
        between(average["iqm_interval"]),
    )
    assert " ".join(shown) in words


def test_ties_are_said_in_words(tmp_path: Path) -> None:
    rows = [run("boolq", name, seed, 0.7 + 0.01 * seed) for name in ("d2lora", "lora", "dora") for seed in range(3)]
    words = Page(written(tmp_path, rows)[0]).text
    assert "No comparison tells apart: d2lora, lora and dora." in words


def test_one_seed_gives_no_interval_anywhere(tmp_path: Path) -> None:
    rows = [run(task, name, 0, 0.7) for task in ("a", "b") for name in ("d2lora", "lora")]
    assert not re.search(r"\d to [+\N{MINUS SIGN}]?\d", Page(written(tmp_path, rows)[0]).text)


def test_learning_curves_come_from_the_steps_of_the_run_folders(tmp_path: Path) -> None:
    rows = [run("boolq", "d2lora", seed, 0.7 + 0.01 * seed) | {"run_key": f"k{seed}"} for seed in range(2)]
    for seed in range(2):
        folder = tmp_path / "runs" / f"k{seed}"
        folder.mkdir(parents=True)
        steps = [{"step": step, "train_loss": 3.0 - step + seed} for step in range(3)]
        (folder / "COMMITTED.json").write_text("{}")
        (folder / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    page = Page(written(tmp_path, rows)[0])
    assert "d2lora: from 3.500 to 1.500." in page.text
    assert page.all("polyline")[0]["points"] == "0.0,16.67 50.0,50.0 100.0,83.33"
    table = unquote(next(a["href"] for a in page.all("a") if a.get("download") == "task-1-curves.csv"))
    assert table.splitlines()[1:] == [
        "d2lora,0.0,3.5,3.0,4.0,2",
        "d2lora,1.0,2.5,2.0,3.0,2",
        "d2lora,2.0,1.5,1.0,2.0,2",
    ]


def test_every_figure_gives_its_numbers_away_and_leads_to_its_runs(whole: Written) -> None:
    page, summary = Page(whole[0]), whole[1]
    tables = [unquote(attrs["href"]) for attrs in page.all("a") if "download" in attrs]
    assert len(tables) == len(page.all("figure")) == len([a for a in page.all("a") if a["href"] == "#runs"]) - 1
    method = summary["tasks"]["arc_easy"]["methods"]["d2lora"]
    assert method["interval"] is not None
    assert any(f"d2lora,{method['mean']},{method['interval'][0]},{method['interval'][1]}," in table for table in tables)


def test_every_run_is_listed_with_its_folder(whole: Written) -> None:
    links = {attrs["href"] for attrs in Page(whole[0]).all("a")}
    assert {f"runs/{row['run_key']}/" for row in sweep_rows()} <= {unquote(link) for link in links}


def test_lost_runs_are_shown_with_their_errors(whole: Written) -> None:
    words = Page(whole[0]).text
    assert "Loss became nan at step 143 of 300." in words
    assert "Worker died <lost contact>" in words
    assert "32 of 34 runs finished" in words


def test_both_colour_schemes_and_small_screens_are_served(whole: Written) -> None:
    assert "prefers-color-scheme: dark" in whole[0]
    assert 'name="viewport"' in whole[0]
    assert "max-width: 40rem" in whole[0]


def test_no_string_becomes_markup(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>\"&"
    rows = [run(evil, evil, seed, 0.5 + seed / 100) for seed in range(2)]
    rows += [run(evil, "other", 0, 0.4), run(evil, "other", 1, None, status="failed", error=evil)]
    text, _ = written(tmp_path, rows, {"name": evil, "command": evil, "versions": {evil: evil}}, {evil: {"path": evil}})
    assert "<script" not in text
    assert Page(text).text.count(evil) > 10


def test_an_average_that_is_missing_because_of_rungs_is_a_dash_with_their_number(tmp_path: Path) -> None:
    rows = [run(task, name, seed, 0.6) for task in ("boolq", "arc") for name in ("d2lora", "lora") for seed in range(3)]
    rows[5] = run("boolq", "lora", 2, None, status="stopped") | {"steps": 9}
    text, summary = written(tmp_path, rows)
    assert summary["macro"]["methods"]["lora"]["mean"] is None
    assert "lora \N{EN DASH} \N{EN DASH} \N{EN DASH} 0 (1 stopped) \N{EN DASH}" in Page(text).text


def test_a_sweep_with_nothing_but_rows_still_gives_a_page(tmp_path: Path) -> None:
    text, _ = written(tmp_path, [run("arc_easy", "d2lora", 0, 0.7), run("arc_easy", "lora", 0, 0.6)])
    words = Page(text).text
    assert "Only one seed a method" in words
    assert "Champions" not in words


def test_a_tie_of_nothing_but_rounding_still_gives_a_page(tmp_path: Path) -> None:
    rows = [run("boolq", "d2lora", seed, value) for seed, value in enumerate((0.8, 0.6, 0.7))]
    rows += [run("boolq", "lora", seed, 0.7) for seed in range(3)]
    words = Page(written(tmp_path, rows)[0]).text
    assert "d2lora is not distinguishable from lora (0.0 points" in words
    assert "A tie is not equality" in words


def test_an_empty_sweep_and_one_that_wholly_failed_give_a_page(tmp_path: Path) -> None:
    assert "No run finished" in Page(written(tmp_path, [])[0]).text
    failed = Page(written(tmp_path, [run("arc_easy", "d2lora", 0, None, status="failed")])[0]).text
    assert "No run of this task finished." in failed
    assert "No message was recorded." in failed


def test_a_champion_with_missing_figures_shows_dashes(tmp_path: Path) -> None:
    rows = [run("arc_easy", "d2lora", seed, 0.7) for seed in range(2)]
    assert "Champions" in Page(written(tmp_path, rows, champions={"arc_easy": {"method": "d2lora"}})[0]).text


def test_writing_replaces_the_old_page_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    written(tmp_path, [run("arc_easy", "d2lora", 0, 0.7)])
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert "old" not in Page((tmp_path / "report.html").read_text(encoding="utf-8")).text.split()
