"""With ``--log json`` a sweep prints its log as JSON lines and nothing else; without it, text; both are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.command import add_log_option, run_job
from jobs.sweep import main

QUIET = ("tasks=[tiny_recall]", "seeds=[0]", "tracking.uri=none", "champions=false", "engine.diagnostics=false")


def test_a_sweep_prints_json_lines_and_keeps_the_logs_of_driver_and_packs(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(recipe), *QUIET]
    assert run_job("sweep", "", main, [*words, "--log", "json"], add_log_option) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert printed[0]["message"] == "small: preparing"
    assert any(row["message"].startswith("report: ") for row in printed)
    logs = recipe.parent / "sweeps" / "small" / "logs"
    kept = [json.loads(line)["message"] for line in (logs / "driver.jsonl").read_text().splitlines()]
    assert {row["message"] for row in printed} <= set(kept)
    (pack,) = logs.glob("pack-a1-*-rank0.jsonl")
    messages = [json.loads(line)["message"] for line in pack.read_text().splitlines()]
    assert any("begins" in message for message in messages)
    assert sum("is committed after step" in message for message in messages) == 2
    assert run_job("sweep", "", main, words, add_log_option) == 0
    assert capsys.readouterr().out.startswith("small: preparing\n")
