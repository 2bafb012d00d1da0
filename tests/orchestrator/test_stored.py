"""A sweep that version 0.1 has finished, before its files moved into rooms: it still counts as finished.

``tests/stored`` holds its folder (trained by commit 4244e5e) and its base: six runs committed, two stopped at a rung.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from orchestrator.store.sweep_folder import SweepFolder
from tests.helpers.places import ROOT
from tests.helpers.sweeps import rows_of, run

STORED = ROOT / "tests" / "stored"
FIGURES = ("n", "lr", "mean", "sd", "worst", "worst_seed", "validation_mean", "stopped", "diverged")


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The stored sweep's copy, in words for the command line: where its folder and its base are."""
    shutil.copytree(STORED / "sweep", tmp_path / "sweeps" / "stored")
    shutil.copytree(STORED / "base", tmp_path / "base")
    return [f"storage={tmp_path / 'sweeps'}", f"model.path={tmp_path / 'base'}", "champions=false"]


def test_nothing_of_a_stored_sweep_is_trained_again(words: list[str]) -> None:
    code, printed, place = run(STORED / "stored.yaml", *words)
    assert code == 0, printed
    assert "8 runs planned at most, 8 done already, 0 to train next" in printed
    assert not list(SweepFolder(place).runs.glob("*/attempt-2"))
    before = [json.loads(line) for line in (STORED / "sweep" / "results.jsonl").read_text().splitlines()]
    again = rows_of(place)
    kept = [
        {name: row[name] for name in old} for row, old in zip(again, before, strict=True)
    ]  # later fields may be added
    assert kept == before


def test_the_summary_of_a_stored_sweep_has_the_figures_that_it_had(words: list[str]) -> None:
    _, _, place = run(STORED / "stored.yaml", *words)
    now, before = (json.loads((folder / "summary.json").read_text()) for folder in (place, STORED / "sweep"))
    for label, method in before["tasks"]["tiny_above"]["methods"].items():
        again = now["tasks"]["tiny_above"]["methods"][label]
        assert {name: again[name] for name in FIGURES} == {name: method[name] for name in FIGURES}
    assert now["headline"].split("(")[0] == before["headline"].split("(")[0]  # its numbers may be worded otherwise


def test_a_stored_run_whose_adapter_has_changed_is_trained_again(words: list[str], tmp_path: Path) -> None:
    adapter = next((tmp_path / "sweeps" / "stored" / "runs").glob("*/adapter/*.safetensors"))
    adapter.write_bytes(adapter.read_bytes()[:-1] + b"\0")
    code, printed, _ = run(STORED / "stored.yaml", *words)
    assert code == 0, printed
    assert "damaged" in printed
    assert "7 done already" in printed
