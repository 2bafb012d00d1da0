"""The results that a search decides by: which ends count, and that each folder is read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.driver.rounds import take_back_stops
from orchestrator.driver.validation_scores import ValidationScores
from orchestrator.files import write_bytes, write_lines
from orchestrator.plan.runs import PlannedRun
from orchestrator.search.halving import stopping_rule
from orchestrator.store.damage import take_back_damaged
from orchestrator.store.ends import COMMITTED
from orchestrator.store.run_folder import RunFolder
from orchestrator.store.sweep_folder import SweepFolder
from tests.helpers.ready import ready_sweep

ASHA = "search={kind: asha, rung: 2, factor: 2}"
RATES = "optim.lr=[1.0e-3, 5.0e-3]"


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "sweep")


def commit(folder: SweepFolder, run: PlannedRun, score: float | None) -> None:
    attempt = folder.run(run.key).begin({})
    write_bytes(attempt.path / "adapter" / "adapter.safetensors", b"x")
    for name in ("metrics.jsonl", "predictions.jsonl"):
        write_lines(attempt.path / name, [])
    attempt.commit({"validation_accuracy": score})


def test_runs_that_committed_or_diverged_have_a_score_and_runs_at_work_have_none(
    tmp_path: Path, folder: SweepFolder
) -> None:
    ready = ready_sweep(tmp_path)
    committed, diverged, at_work, *_ = ready.runs
    commit(folder, committed, 0.75)
    folder.run(diverged.key).begin({}).diverge({"validation_accuracy": None})
    folder.run(at_work.key).begin({})
    assert ValidationScores(folder, ready.runs, ready.spec.search).read() == {committed.key: 0.75, diverged.key: None}


@pytest.mark.parametrize(("words", "own"), [((), False), ((RATES, ASHA), True), ((RATES, ASHA[:-2] + "3}"), False)])
def test_a_stop_counts_under_the_rule_that_made_it_and_under_no_other(
    tmp_path: Path, folder: SweepFolder, words: tuple[str, ...], own: bool
) -> None:
    rule = stopping_rule(ready_sweep(tmp_path, RATES, ASHA).spec.search)
    assert rule is not None
    ready = ready_sweep(tmp_path, *words)
    run = ready.runs[0]
    folder.run(run.key).begin({}).stop({"validation_accuracy": 0.5}, rule)
    assert ValidationScores(folder, ready.runs, ready.spec.search).read() == ({run.key: 0.5} if own else {})
    assert take_back_stops([folder.run(run.key)], stopping_rule(ready.spec.search)) == (0 if own else 1)
    assert folder.run(run.key).ended() == ("stopped" if own else None)


def test_a_folder_is_read_once_and_what_is_given_out_is_a_copy(
    tmp_path: Path, folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = ready_sweep(tmp_path)
    first, second, *_ = ready.runs
    scores = ValidationScores(folder, ready.runs, ready.spec.search)
    commit(folder, first, 0.75)
    scores.read().clear()
    reads: list[str] = []
    real = RunFolder.row

    def row(run: RunFolder) -> dict[str, object]:
        reads.append(run.path.name)
        return real(run)

    monkeypatch.setattr(RunFolder, "row", row)
    commit(folder, second, 0.5)
    for _ in range(2):
        assert scores.read() == {first.key: 0.75, second.key: 0.5}
    assert reads == [second.key]


def test_a_result_that_cannot_be_read_is_absent_until_it_is_trained_again(tmp_path: Path, folder: SweepFolder) -> None:
    ready = ready_sweep(tmp_path)
    run = ready.runs[0]
    scores = ValidationScores(folder, ready.runs, ready.spec.search)
    commit(folder, run, 0.75)
    (folder.run(run.key).path / COMMITTED).write_text("{}")
    assert scores.read() == {}
    lines: list[str] = []
    take_back_damaged([folder.run(one.key) for one in ready.runs], lines.append)
    assert len(lines) == 1
    assert lines[0].startswith("damaged: ")
    assert lines[0].endswith("It is trained again.")
    commit(folder, run, 0.25)
    assert scores.read() == {run.key: 0.25}
