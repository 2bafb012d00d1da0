"""Small real sweeps for tests: a barely trained tiny base, few rows, every part of the product."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.recipe.read import read_recipe
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.sweep import run_sweep
from orchestrator.tiny import TinySettings, ensure_tiny_base

RECIPE = """
name: small
tasks: [tiny_recall, tiny_above]
methods:
  - {{name: d2lora, rank: 2, alpha: 4}}
  - {{name: lora, rank: 4, alpha: 8}}
seeds: [0, 1]
model: {{path: {base}}}
data: {{train_samples: 48, eval_samples: 24, max_length: 64}}
optim: {{lr: 5.0e-3, epochs: 2, micro_batch: 8, global_batch: 16}}
engine: {{kind: plain}}
cluster: {{kind: local, pack: 3}}
tracking: {{uri: "sqlite:///{place}/mlflow.db"}}
storage: {place}/sweeps
"""
RUNS = 8


@pytest.fixture(scope="session")
def small_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base after a few steps: enough to run everything, in a second."""
    return ensure_tiny_base(tmp_path_factory.mktemp("base"), settings=TinySettings(steps=10))


@pytest.fixture
def recipe(tmp_path: Path, small_base: Path) -> Path:
    """The small recipe, with places of its own."""
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE.format(base=small_base, place=tmp_path))
    return path


def run(recipe: Path, *words: str, train: bool = True) -> tuple[int, str, Path]:
    """Run the sweep in this process; return exit code, what was printed, and the sweep's folder."""
    output = io.StringIO()
    spec = read_recipe(recipe, words)
    console = Console(file=output, width=200)
    code = run_sweep(spec, f"python jobs/sweep.py {recipe.name}", console, train=train)
    return code, output.getvalue(), SweepFolder.of(spec).path


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Return results.jsonl."""
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def unmeasured(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of results without times, memory, maker and pauses: the part that is the same however it is made."""
    measured = ("train_seconds", "trainer", "made_by", "made_before", "resumed")
    kept = {name: value for name, value in row.items() if name not in measured}
    diagnostics = kept.get("diagnostics") or {}
    return kept | {"diagnostics": {name: value for name, value in diagnostics.items() if name != "seconds"} or None}
