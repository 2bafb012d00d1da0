from pathlib import Path

import pytest
import torch

from benchmarks import control_plane
from benchmarks.control_arms import no_op_sweep
from orchestrator.control import Unsupervised
from orchestrator.recipe.read import read_recipe
from orchestrator.store.run_folder import RunFolder

OURS = {"Ray": [10.0], "packs": [20.0], "MLflow": [5.0], "whole": [45.0], "cpu": [50.0]}
PEER = {"Ray": [10.0], "packs": [40.0], "whole": [56.0], "cpu": [80.0]}


def rows(judged: bool = True):
    return {(row.arm, row.unit): row for row in control_plane.rows(OURS, OURS, PEER, 64, 4, judged=judged)}


def test_the_whole_is_held_to_a_minute_and_a_quick_look_to_nothing():
    assert rows()["ours: packs", "s"].median == 20
    judged = next(row for row in control_plane.rows(OURS, OURS, PEER, 64, 4, judged=True) if row.target)
    assert (judged.arm, judged.median, judged.met) == ("ours", 45, True)
    assert not any(row.target for row in control_plane.rows(OURS, OURS, PEER, 64, 4, judged=False))


def test_what_no_part_explains_is_a_part():
    assert rows()["ours: imports and the rest", "s"].median == 10


def test_the_peer_pays_for_its_start_once_and_for_trials_by_the_run():
    assert control_plane.extrapolated(PEER, 64, 4) == [16 + 640]
    assert rows()["a TorchTrainer a run", "s"].median == 656


def test_two_per_cent_of_a_sweep_says_how_long_the_sweep_is():
    assert rows()["a sweep of which it is 2%", "min"].median == pytest.approx(45 / 0.02 / 60)


def test_a_run_that_does_nothing_commits_once_and_has_its_steps(tmp_path: Path):
    file = tmp_path / "recipe.yaml"
    file.write_text(no_op_sweep.recipe(tmp_path, 6))
    spec = read_recipe(file)
    runs = no_op_sweep.planned(spec)
    assert len({run.key for run in runs}) == 6
    assert [len(job.pack.runs) for job in no_op_sweep.jobs_of(spec, runs, tmp_path, 2)] == [2, 2, 1, 1]
    jobs = no_op_sweep.jobs_of(spec, runs, tmp_path / "sweep", 1)
    assert [len(job.pack.runs) for job in jobs] == [1] * 6
    no_op_sweep.do_nothing(jobs[0], torch.device("cpu"), Unsupervised())
    folder = RunFolder(tmp_path / "sweep" / "runs" / runs[0].key)
    folder.verify()
    assert len(folder.metrics()) == no_op_sweep.STEPS
    assert folder.row()["seed"] == runs[0].spec.seed


def test_the_parts_are_the_seconds_between_the_marks():
    assert no_op_sweep.parts_of([0, 7, 27, 29, 34]) == {"Ray": 9, "packs": 20, "MLflow": 5}
