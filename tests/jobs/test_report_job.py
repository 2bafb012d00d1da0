"""`report` writes the page again from what is committed, and says what to run where nothing is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import jobs.report
from jobs.command import run_job
from orchestrator.files import write_json, write_lines
from orchestrator.summary.summary import summary_of
from tests.helpers.places import ROOT

RECIPE = "name: small\ntasks: [tiny_recall]\nmethods: [d2lora, lora]\nseeds: [0, 1]\nstorage: {place}\n"
CHAMPION = {"task": "tiny_recall", "method": "d2lora", "lr": 0.01, "seed": 1, "accuracy_merged": 0.875, "path": "there"}


def row(method: str, seed: int) -> dict[str, Any]:
    accuracy = 0.7 + 0.05 * (method == "d2lora") + 0.01 * seed
    columns = {"run_key": f"{method}{seed}", "task": "tiny_recall", "method": method, "settings": {}, "lr": 0.01}
    columns |= {"seed": seed, "status": "committed", "accuracy": accuracy, "validation_accuracy": accuracy}
    return columns | {
        "base_accuracy": 0.25,
        "train_loss_volatility": 0.1,
        "train_seconds": 3.0,
        "trainable_parameters": 9,
    }


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE.format(place=tmp_path / "sweeps"))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a finished sweep leaves, without its runs."""
    place = tmp_path / "sweeps" / "small"
    rows = [row(method, seed) for method in ("d2lora", "lora") for seed in (0, 1)]
    write_lines(place / "results.jsonl", rows)
    write_json(place / "summary.json", {**summary_of(rows, {})})
    write_json(place / "sweep.json", {"name": "small", "command": "python jobs/sweep.py small.yaml"})
    write_json(place / "champions" / "tiny_recall" / "evaluation.json", CHAMPION)
    for other in (".tmp-tiny_above", "tiny_above.sound-d2lora1"):  # half made; kept of before
        write_json(place / "champions" / other / "evaluation.json", CHAMPION)
    return place


def report(recipe: Path, *words: str) -> int:
    return run_job("report", "", jobs.report.main, [str(recipe), *words])


def test_the_page_is_written_from_the_files(recipe: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(recipe) == 0
    assert capsys.readouterr().out == f"report: {folder / 'report.html'}\n"
    page = (folder / "report.html").read_text()
    for word in ("d2lora", "lora", "tiny_recall", "jobs/sweep.py small.yaml", "87.5"):
        assert word in page
    assert "tiny_above" not in page  # a champion that was being written


def test_a_page_without_the_sweeps_description_or_champions_is_still_a_page(recipe: Path, folder: Path) -> None:
    (folder / "sweep.json").unlink()
    (folder / "champions" / "tiny_recall" / "evaluation.json").write_text("{")
    assert report(recipe) == 0
    assert "tiny_recall" in (folder / "report.html").read_text()


def test_a_folder_without_results_is_refused_with_the_command_to_run_first(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(recipe, "name=other") == 2
    output = capsys.readouterr().err
    assert output.startswith(f"{tmp_path / 'sweeps' / 'other'} has no results.jsonl")
    assert output.endswith(f"First: python jobs/sweep.py {recipe} name=other\n")
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.parametrize(
    ("name", "content"), [("results.jsonl", '{"a": \n'), ("summary.json", "{"), ("summary.json", "[]")]
)
def test_damaged_files_are_named(
    recipe: Path, folder: Path, name: str, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).write_text(content)
    assert report(recipe) == 2
    output = capsys.readouterr().err
    assert output.startswith(str(folder / name))
    assert "damaged" in output
    assert "python jobs/sweep.py" in output


def test_neither_torch_nor_ray_is_loaded(recipe: Path, folder: Path) -> None:
    code = (
        "import json, sys, jobs.report; from jobs.command import run_job; "
        f"code = run_job('report', '', jobs.report.main, [{str(recipe)!r}]); "
        "print(json.dumps([code, [name for name in ('torch', 'ray', 'transformers') if name in sys.modules]]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout.splitlines()[-1]) == [0, []]
    assert (folder / "report.html").is_file()
