"""The script in docs recomputes what summary.json says, from the sweep's files alone."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.files import read_json, read_lines, write_json, write_lines
from orchestrator.summary.summary import summary_of
from tests.helpers.places import ROOT

SCRIPT = ROOT / "docs" / "recompute.py"
Figures = dict[tuple[str, str], dict[str, Any]]


def finished_sweep(folder: Path, seeds: int, levels: tuple[float, float] = (0.7, 0.6)) -> Path:
    """Write what a sweep leaves: two tasks, four methods (two of them identical), two rates, one diverged seed."""
    rows, predictions = [], {}
    for task, level in zip(("boolq", "arc_easy"), levels, strict=True):
        for method, lift in (("lora", 0.0), ("d2lora", 0.1), ("dora", 0.02), ("twin", 0.1)):
            for lr in (1e-3, 1e-2):
                for seed in range(seeds):
                    key = f"{task}-{method}-{lr}-{seed}"
                    draws = random.Random(f"{task}-d2lora-{lr}-{seed}" if method == "twin" else key)
                    right = [draws.random() < level + lift for _ in range(60)]
                    row = {"run_key": key, "task": task, "method": method, "settings": {"name": method}, "lr": lr}
                    row |= {"seed": seed, "status": "committed", "accuracy": sum(right) / 60, "train_seconds": 3.0}
                    row |= {"validation_accuracy": draws.random(), "trainable_parameters": 9}
                    if (task, method, seed) == ("arc_easy", "twin", 3):  # of both rates: selected seeds are left
                        row |= {"status": "stopped", "accuracy": None}
                    elif (method, lr, seed, seeds > 1) == ("dora", 1e-3, 1, True):
                        row |= {"status": "diverged", "accuracy": None, "validation_accuracy": None}
                    else:
                        predictions[key] = [{"index": i, "answer": 2, "predicted": 2 * r} for i, r in enumerate(right)]
                        write_lines(folder / "predictions" / f"{key}.jsonl", predictions[key])
                    rows.append(row)
    write_lines(folder / "results.jsonl", rows)
    write_json(folder / "summary.json", {**summary_of(rows, predictions)})
    return folder


def recomputed(folder: Path) -> Figures:
    ran = subprocess.run([sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    return {(line["task"], line["what"]): line for line in map(json.loads, ran.stdout.splitlines())}


def checked(folder: Path) -> Figures:
    """Return what the script prints, after comparing each figure with summary.json."""
    figures = recomputed(folder)
    compared = 0
    for task, summary in read_json(folder / "summary.json")["tasks"].items():
        parts = list(summary["methods"].items())
        parts += [(f"{pair['first']} - {pair['second']}", pair) for pair in summary["differences"]]
        for what, expected in parts:
            for name in ("n", "mean", "sd", "interval", "p") if " - " in what else ("n", "mean", "sd", "interval"):
                assert figures[task, what].get(name) == pytest.approx(expected[name], abs=1e-9), (task, what, name)
                compared += 1
    assert compared == 2 * (4 * 4 + 3 * 5)
    return figures


def test_every_mean_sd_interval_difference_and_p_is_recomputed(tmp_path: Path) -> None:
    figures = checked(finished_sweep(tmp_path, 5))
    assert figures["boolq", "d2lora - twin"]["p"] == 1.0
    assert figures["arc_easy", "twin"].keys() == {"task", "what", "n", "mean"}
    assert (figures["arc_easy", "twin"]["n"], figures["arc_easy", "d2lora - twin"]["n"]) == (4, 0)
    assert figures["boolq", "dora"]["n"] == 5  # the rate at which a seed diverged is not the one that is reported


def test_near_the_edges_the_script_clips_intervals_as_the_summary_does(tmp_path: Path) -> None:
    figures = checked(finished_sweep(tmp_path, 3, levels=(0.97, 0.01)))
    assert figures["boolq", "lora"]["interval"][1] == 1.0
    assert figures["arc_easy", "lora"]["interval"][0] == 0.0
    assert (figures["boolq", "d2lora"]["mean"], figures["boolq", "d2lora"]["interval"]) == (1.0, None)


def test_one_seed_has_a_mean_and_nothing_else(tmp_path: Path) -> None:
    line = recomputed(finished_sweep(tmp_path, 1))["boolq", "d2lora - lora"]
    assert set(line) == {"task", "what", "n", "mean"}


def test_the_reference_is_that_of_the_summary_where_a_search_did_not_try_d2lora(tmp_path: Path) -> None:
    folder = finished_sweep(tmp_path, 3)
    rows = read_lines(folder / "results.jsonl")
    for row in rows:
        if (row["task"], row["method"]) == ("arc_easy", "d2lora"):
            row |= {"status": "dropped", "accuracy": None, "validation_accuracy": None, "search": "tpe"}
    done = [row["run_key"] for row in rows if row["status"] == "committed"]
    summary = summary_of(rows, {key: read_lines(folder / "predictions" / f"{key}.jsonl") for key in done})
    write_lines(folder / "results.jsonl", rows)
    pairs = {
        f"{pair['first']} - {pair['second']}"
        for content in summary["tasks"].values()
        for pair in content["differences"]
    }
    assert pairs == {"lora - d2lora", "lora - dora", "lora - twin"}
    assert {what for _, what in recomputed(folder) if " - " in what} == pairs


def test_the_script_is_short_and_knows_nothing_of_the_project() -> None:
    lines = SCRIPT.read_text().splitlines()
    assert len(lines) <= 30
    assert not any(word in line for line in lines for word in ("orchestrator", "d2lora import", "import d2lora"))
