"""A pack's result does not depend on what its process trained before: trainers can stay up."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.driver.prepare import make_ready
from orchestrator.plan.packs import Pack
from orchestrator.plan.runs import expand, keyed
from orchestrator.recipe.read import read_recipe
from orchestrator.store.run_folder import RunFolder
from orchestrator.worker.jobs import PackJob
from tests.helpers.places import ROOT
from tests.helpers.sweeps import unmeasured

pytestmark = pytest.mark.slow
WORKER = ROOT / "tests" / "helpers" / "programs" / "warm_worker.py"
LAST = 3


def jobs_in(folder: Path, recipe: Path, engine: str) -> list[PackJob]:
    """Four packs of a run each, over both tasks and both methods; each scores the base too."""
    kind, _, stage = engine.partition("-")
    spec = read_recipe(recipe, [f"engine.kind={kind}", *([f"engine.stage={stage}"] if stage else [])])
    ready = make_ready(spec, recipe.parent / ".cache", lambda text: None)
    runs = keyed(expand(spec), ready.base.fingerprint, ready.fingerprints)
    data = {task: str(one.path) for task, one in ready.data.items()}
    return [
        PackJob(
            folder=str(folder),
            base_path=str(ready.base.path),
            base_fingerprint=ready.base.fingerprint,
            data=data,
            engine=spec.engine,
            pack=Pack(f"p{index}", (run,), (run.spec.task.name,)),
        )
        for index, run in enumerate(runs[::2])
    ]


def train(folder: Path, jobs: list[PackJob], world: int, numbers: list[int]) -> None:
    """Train these packs in one group of processes."""
    folder.mkdir()
    (folder / "jobs.pickle").write_bytes(pickle.dumps(jobs))
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.helpers.programs.warm_worker"]
            + [str(word) for word in (rank, world, folder / "init", folder / "jobs.pickle", *numbers)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world)
    ]
    logs = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert all(rank.returncode == 0 for rank in ranks), "\n".join(log[-3000:] for log in logs)


def result(job: PackJob) -> tuple[dict[str, Any], bytes, bytes]:
    """What a pack's one run came to; the time that it took is no part of it."""
    (run,) = job.pack.runs
    folder = RunFolder(Path(job.folder) / "runs" / run.key)
    files = [folder.artefact(name).read_bytes() for name in ("adapter/adapter.safetensors", "predictions.jsonl")]
    return unmeasured(folder.row()), files[0], files[1]


@pytest.mark.parametrize(
    ("engine", "world"), [("plain", 1), pytest.param("zero-2", 2, marks=pytest.mark.rare), ("zero-3", 2)]
)
def test_the_last_of_four_packs_in_a_process_is_bit_for_bit_what_a_fresh_one_gives(
    tmp_path: Path, recipe: Path, engine: str, world: int
) -> None:
    warm, fresh = (jobs_in(tmp_path / name, recipe, engine) for name in ("warm", "fresh"))
    train(tmp_path / "warm", warm, world, list(range(LAST + 1)))
    train(tmp_path / "fresh", fresh, world, [LAST])
    assert result(warm[LAST]) == result(fresh[LAST])
    assert len({result(job)[1] for job in warm}) == LAST + 1
