"""Rows of a sweep, and its report written and read again, for tests of the page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from orchestrator.report.page import write_report
from orchestrator.summary.schema import Summary
from orchestrator.summary.summary import summary_of

VOID = {"meta", "wbr"}
Written = tuple[str, Summary]
Attributes = dict[str, str]


class Page(HTMLParser):
    """Reads a page and fails on a tag that is left open or closed twice."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Attributes]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag: str) -> list[Attributes]:
        return [attrs for name, attrs in self.tags if name == tag]


def run(
    task: str,
    method: str,
    seed: int,
    accuracy: float | None,
    *,
    lr: float = 3e-4,
    status: str = "committed",
    error: str | None = None,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "run_key": f"{task}/{method}/{lr}/{seed}",
        "task": task,
        "method": method,
        "settings": {},
        "lr": lr,
    }
    row |= {"seed": seed, "status": status, "base_accuracy": 0.381, "trainable_parameters": 221184, "error": error}
    numbers = {
        "accuracy": accuracy,
        "validation_accuracy": (accuracy or 0) - lr,
        "train_loss_volatility": 0.0837,
        "train_seconds": 31.4,
    }
    return row | (numbers if status == "committed" else dict.fromkeys(numbers))


def sweep_rows() -> list[dict[str, Any]]:
    return [
        run(task, method, seed, level + bonus + 0.003 * ((seed * 7) % 5), lr=lr)
        for task, level in (("arc_easy", 0.68), ("boolq", 0.72))
        for method, bonus in (("d2lora", 0.04), ("lora(rank=16)", 0.0))
        for lr in (3e-4, 1e-3)
        for seed in range(4)
    ] + [
        run("boolq", "lora(rank=16)", 4, None, lr=1e-3, status="diverged", error="Loss became nan at step 143 of 300."),
        run("arc_easy", "d2lora", 4, None, status="failed", error="Worker died <lost contact>"),
    ]


CHAMPION = {
    "task": "arc_easy", "method": "d2lora", "lr": 3e-4, "seed": 2, "run_key": "k", "accuracy_merged": 0.7366,
    "accuracy_unmerged": 0.7361, "gap_points": 0.05, "item_flips": 3, "largest_logit_difference": 3.1e-6,
    "examples_per_second_merged": 812.0, "examples_per_second_unmerged": 406.0, "path": "champions/arc_easy",
    "items": 600, "base_accuracy": 0.381,
}  # fmt: skip
SWEEP = {
    "name": "quickstart",
    "command": "python jobs/sweep.py recipes/quickstart.yaml",
    "versions": {"torch": "2.13.0", "ray": "2.60.0"},
    "commit": "4f1c2d9",
    "created": "2026-01-05 03:00 UTC",
    "chance": {"arc_easy": 0.25, "boolq": 0.5},
}


def written(
    path: Path,
    rows: Sequence[dict[str, Any]],
    sweep: Mapping[str, Any] | None = None,
    champions: Mapping[str, dict[str, Any]] | None = None,
) -> Written:
    summary = summary_of(rows, {})
    write_report(path / "report.html", dict(sweep or {}), {**summary}, list(rows), dict(champions or {}))
    return (path / "report.html").read_text(encoding="utf-8"), summary
