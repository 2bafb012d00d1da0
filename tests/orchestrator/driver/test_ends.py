"""Ends of runs: by what trainers report, although the file system answers with what was true 30 seconds ago."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmarks.control_arms.no_op_sweep import row_of
from orchestrator.cluster.cluster import Failures, Train
from orchestrator.cluster.local import LocalCluster
from orchestrator.control import Control, RunEnd
from orchestrator.driver.ends import VISIBLE_SECONDS, settled
from orchestrator.files import write_lines
from orchestrator.recipe.read import read_recipe
from orchestrator.store import run_folder
from orchestrator.store.ends import COMMITTED, end_of
from orchestrator.store.run_folder import RunFolder
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.sweep import run_sweep
from orchestrator.worker.jobs import PackJob
from tests.helpers.sweeps import RUNS, rows_of

OLD = 30.0


class Stale:
    """A file system like NFS, on a clock of its own: "no end there" stays the answer for OLD seconds."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now, self.asked = 0.0, dict[Path, float]()
        patch.setattr(run_folder, "end_of", self.end_of)
        patch.setattr(settled, "__defaults__", (self.sleep,))

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def end_of(self, run: Path) -> str | None:
        if self.now - self.asked.get(run, -OLD) < OLD:
            return None
        end = end_of(run)
        if end is None:
            self.asked[run] = self.now
        return end


class Reporting(LocalCluster):
    """This process, with a trainer on another node: its own file system is fresh, and it reports what it ends."""

    def __init__(self, broken: Callable[[str], bool] = lambda key: False) -> None:
        super().__init__()
        self.trained: list[str] = []
        self.broken = broken

    def run_packs(self, jobs: Sequence[PackJob], train: Train) -> Failures:
        return super().run_packs(jobs, self._train)

    def _train(self, job: PackJob, device: torch.device, control: Control) -> None:
        for run in job.pack.runs:
            self.trained.append(run.key)
            if self.broken(run.key):
                raise OSError("this run is broken")
            folder = RunFolder(Path(job.folder) / "runs" / run.key)
            with pytest.MonkeyPatch.context() as fresh:
                fresh.setattr(run_folder, "end_of", end_of)
                attempt = folder.begin(run.spec.model_dump())
                (attempt.path / "adapter").mkdir()
                (attempt.path / "adapter" / "adapter.safetensors").write_bytes(b"nothing")
                write_lines(attempt.path / "metrics.jsonl", [])
                row = {"index": 0, "answer": 0, "predicted": 0, "scores": [0.0, -1.0]}
                write_lines(attempt.path / "predictions.jsonl", [row])
                control.progress({run.key: 6})
                attempt.commit(row_of(run) | {"accuracy": 0.5, "validation_accuracy": 0.5})
            control.ended(RunEnd(run.key, "committed", attempt.number, seal(folder)))


def seal(folder: RunFolder) -> str:
    return str(json.loads((folder.path / COMMITTED).read_text())["seal"])


def sweep(recipe: Path, cluster: LocalCluster, *words: str) -> tuple[int, str, Path]:
    spec, output = read_recipe(recipe, ("tracking.uri=none", "champions=false", *words)), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.driver.services.open_cluster", lambda *_: cluster)
        code = run_sweep(spec, "command", Console(file=output, width=300))
    return code, output.getvalue(), SweepFolder.of(spec).path


@pytest.mark.parametrize("retries", [0, 1])
def test_answers_thirty_seconds_old_train_nothing_twice_and_fail_nothing(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, retries: int
) -> None:
    stale, cluster = Stale(monkeypatch), Reporting()
    code, said, folder = sweep(recipe, cluster, f"cluster.retries={retries}")
    assert code == 0, said
    assert len(cluster.trained) == len(set(cluster.trained)) == RUNS
    assert {row["status"] for row in rows_of(folder)} == {"committed"}
    assert f"waiting until the results of {RUNS} runs can be read here" in said
    assert stale.now >= OLD


def test_a_pack_that_failed_after_some_of_its_runs_had_ended_is_tried_again_without_them(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Stale(monkeypatch)
    tried: list[str] = []

    def broken(key: str) -> bool:
        """The second run of all is broken at its first try."""
        tried.append(key)
        return len(tried) == 2

    cluster = Reporting(broken)
    code, said, _ = sweep(recipe, cluster, "cluster.pack=3")
    assert code == 0, said
    twice = [key for key in cluster.trained if cluster.trained.count(key) > 1]
    assert set(twice) == {tried[1]}


def test_a_result_that_stays_invisible_is_said_with_the_question_to_ask(tmp_path: Path) -> None:
    folder, said, slept = SweepFolder(tmp_path), list[str](), list[float]()
    reported = {"one": RunEnd("one", "committed", 1, "seal")}
    assert settled(["one"], reported, folder, said.append, slept.append) == {}
    assert sum(slept) == VISIBLE_SECONDS
    assert "Do all nodes see the same folder under this path (recipe key storage)?" in said[-1]


def test_an_end_that_nobody_reported_is_looked_for_on_disk(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    folder.run("one").begin({}).diverge({})
    assert settled(["one", "two"], {}, folder, print, pytest.fail) == {"one": "diverged"}


def test_an_older_manifest_is_not_the_end_that_was_reported(tmp_path: Path) -> None:
    folder, slept = SweepFolder(tmp_path), list[float]()
    folder.run("one").begin({}).diverge({})
    reported = {"one": RunEnd("one", "diverged", 2, "another seal")}
    assert settled(["one"], reported, folder, lambda line: None, slept.append) == {}
    assert slept
