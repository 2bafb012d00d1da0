"""The last lines of a sweep: the headline, the champions, what failed, and where to look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.driver.final_message import final_message, pages_of
from orchestrator.store.sweep_folder import SweepFolder

FOLDER = SweepFolder(Path("/sweeps/mine"))
ROW: dict[str, Any] = {"run_key": "k1", "task": "arc_easy", "method": "lora", "lr": 1e-4, "seed": 3}
CHAMPION = ROW | {
    "base_accuracy": 0.3,
    "accuracy_merged": 0.7123,
    "gap_points": -0.2,
    "item_flips": 1,
    "path": "/sweeps/mine/champions/arc_easy",
}
SUMMARY = {"headline": "lora leads."}


def test_every_fact_has_a_line_in_order() -> None:
    rows = [ROW | {"status": "committed"}, ROW | {"status": "failed", "error": "Traceback\n  ...\nMemoryError: full\n"}]
    assert final_message(FOLDER, "none", rows, SUMMARY, {"arc_easy": CHAMPION}, ["tracking is behind."]) == [
        "",
        "lora leads.",
        "  arc_easy: lora, lr 0.0001, seed 3: 0.712 merged (base 0.300), gap -0.20 points, 1 flips -> "
        "/sweeps/mine/champions/arc_easy",
        "  failed: lora, lr 0.0001, seed 3 on arc_easy: MemoryError: full (details: /sweeps/mine/runs/k1.error.txt)",
        "  tracking is behind.",
        "report: /sweeps/mine/report.html",
    ]


@pytest.mark.parametrize("status", ["committed", "dropped", "stopped"])
def test_a_run_of_which_nothing_is_left_to_do_has_no_line(status: str) -> None:
    lines = final_message(FOLDER, "none", [ROW | {"status": status}], SUMMARY, {}, [])
    assert lines == ["", "lora leads.", "report: /sweeps/mine/report.html"]


def test_a_diverged_run_points_to_the_sweep_because_it_has_no_file_of_its_own() -> None:
    row = ROW | {"status": "diverged", "error": "The loss stopped being finite at step 2."}
    line = final_message(FOLDER, "none", [row], SUMMARY, {}, [])[2]
    assert line.endswith("The loss stopped being finite at step 2. (details: /sweeps/mine)")


def test_the_last_line_says_where_mlflow_shows_the_runs() -> None:
    lines = final_message(FOLDER, "http://ann:secret@h:5000", [], SUMMARY, {}, [])
    assert lines[-1] == f"runs:   {pages_of('http://ann:secret@h:5000')}"
    assert "secret" not in lines[-1]
    assert pages_of("sqlite:////a b.db") == "mlflow ui --backend-store-uri 'sqlite:////a b.db'"
