"""Published predictions: copied once, and read one run at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.files import write_lines
from orchestrator.store import rows as module
from orchestrator.store.rows import PublishedPredictions, publish_predictions
from orchestrator.store.run_folder import RunFolder
from orchestrator.store.sweep_folder import SweepFolder

LINES = [{"index": number, "answer": 0, "predicted": number % 2, "scores": [-1.0]} for number in range(3)]


def finished(folder: SweepFolder, key: str) -> RunFolder:
    """Return a run that has committed these predictions."""
    run = folder.run(key)
    attempt = run.begin({})
    write_lines(attempt.path / "metrics.jsonl", [])
    write_lines(attempt.path / "predictions.jsonl", LINES)
    (attempt.path / "adapter").mkdir()
    attempt.commit({"status": "committed"})
    return run


def test_predictions_are_copied_and_copied_again_only_if_the_copy_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = SweepFolder(tmp_path)
    run, copy = finished(folder, "k"), folder.predictions("k")
    publish_predictions(run, copy)
    assert [json.loads(line) for line in copy.read_text().splitlines()] == LINES
    written: list[Path] = []
    monkeypatch.setattr(module, "write_bytes", lambda path, content: written.append(path))
    publish_predictions(run, copy)
    assert written == []
    copy.write_text("damaged\n")
    publish_predictions(run, copy)
    assert written == [copy]


def test_a_request_reads_the_predictions_of_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = SweepFolder(tmp_path)
    for key in "ab":
        publish_predictions(finished(folder, key), folder.predictions(key))
    published = PublishedPredictions(folder, ["a", "b"])
    read: list[Path] = []
    read_lines = module.read_lines
    monkeypatch.setattr(module, "read_lines", lambda path: read.append(path) or read_lines(path))
    assert ("a" in published, "c" in published, list(published), len(published)) == (True, False, ["a", "b"], 2)
    assert read == []
    assert published["a"] == LINES
    assert read == [folder.predictions("a")]
    with pytest.raises(KeyError):
        published["c"]
