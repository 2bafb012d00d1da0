"""Runs saved by two ranks under ZeRO go on to the same bits, and also in other packs and under another engine."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from orchestrator.driver.prepare import make_ready
from orchestrator.plan.packs import Pack
from orchestrator.plan.runs import PlannedRun, expand, keyed
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.sections import EngineSpec
from orchestrator.store.run_folder import RunFolder
from orchestrator.worker.jobs import PackJob
from orchestrator.worker.pack_trainer import PackTrainer
from tests.helpers.ranks import run_ranks

pytestmark = pytest.mark.slow

OFTEN = 1e-3  # seconds between two checkpoints: after each step


@pytest.fixture
def job(recipe: Path, tmp_path: Path) -> PackJob:
    """One pack of eight runs of six steps, saved often."""
    spec = read_recipe(recipe, ["seeds=[0, 1, 2, 3]", "tasks=[tiny_recall]"])
    ready = make_ready(spec, recipe.parent / ".cache", lambda _: None)
    runs = keyed(expand(spec), ready.base.fingerprint, ready.fingerprints)
    return PackJob(
        folder=str(tmp_path / "sweep"),
        base_path=str(ready.base.path),
        base_fingerprint=ready.base.fingerprint,
        data=ready.data_files,
        engine=EngineSpec(kind="zero", stage=2, checkpoint_seconds=OFTEN),
        pack=Pack("p", tuple(runs), ()),
    )


def on_two_ranks(job: PackJob, end: str) -> None:
    file = Path(job.folder).with_suffix(".job")
    file.write_bytes(pickle.dumps(job))
    run_ranks("tests.helpers.programs.resume_rank", [(rank, 2, file, end) for rank in range(2)])


def in_folder(job: PackJob, name: str, stage: int) -> PackJob:
    engine = job.engine.model_copy(update={"stage": stage})
    return replace(job, folder=str(Path(job.folder).with_name(name)), engine=engine)


def adapters(job: PackJob, runs: Sequence[PlannedRun]) -> list[dict[str, torch.Tensor]]:
    folders = [RunFolder(Path(job.folder) / "runs" / run.key).artefact("adapter") for run in runs]
    return [load_file(next(folder.glob("*.safetensors"))) for folder in folders]


def resumed(job: PackJob) -> list[list[int]]:
    return [RunFolder(Path(job.folder) / "runs" / run.key).row()["resumed"] for run in job.pack.runs]


@pytest.mark.parametrize(
    "end", [pytest.param("dies 3", marks=pytest.mark.rare), pytest.param("stops 3", marks=pytest.mark.rare)]
)
def test_two_ranks_go_on_to_the_same_bits(job: PackJob, end: str) -> None:
    on_two_ranks(job, "never")
    other = in_folder(job, "other", stage=2)
    on_two_ranks(other, end)
    on_two_ranks(other, "never")
    steps = {step for of_run in resumed(other) for step in of_run}
    assert steps in ([{4}] if end == "stops 3" else [{1}, {2}, {3}])
    for one, another in zip(adapters(other, job.pack.runs), adapters(job, job.pack.runs), strict=True):
        assert one.keys() == another.keys()
        assert all(torch.equal(one[name], another[name]) for name in one)


def test_a_pack_of_eight_under_stage_3_goes_on_as_two_packs_of_four_under_plain(job: PackJob) -> None:
    """Every adapter within 1e-5 of the undisturbed one's."""
    whole = in_folder(job, "whole", stage=3)
    on_two_ranks(whole, "never")
    broken = in_folder(job, "broken", stage=3)
    on_two_ranks(broken, "dies 3")
    plain = replace(broken, engine=EngineSpec(kind="plain"))
    for number in range(2):
        runs = job.pack.runs[4 * number : 4 * number + 4]
        PackTrainer()(replace(plain, pack=Pack(f"p{number}", runs, ())), torch.device("cpu"))
    assert all(resumed(broken))
    for one, another in zip(adapters(broken, job.pack.runs), adapters(whole, job.pack.runs), strict=True):
        for name in one:
            torch.testing.assert_close(one[name], another[name], rtol=0, atol=1e-5)
