"""Files of real runs that are changed on disk: each change is detected, what is whole is used instead (K13)."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import SafetensorError
from safetensors.torch import load

from orchestrator.errors import DamagedCheckpointError, DamagedRunError
from orchestrator.files import read_json
from orchestrator.store.checkpoint import LOG, MANIFEST, TENSORS, stored_checkpoints, write_checkpoint
from orchestrator.store.ends import COMMITTED
from orchestrator.store.run_folder import RunFolder
from tests.faults.scorecard import Scorecard
from tests.helpers.faults.damage import damage
from tests.helpers.faults.nothing_lost import runs_of
from tests.helpers.sweeps import RECIPE, run
from tests.orchestrator.store.test_checkpoint import KEY, checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.rare]
TIMES = 320  # per file


def corrupt(file: Path, reads: Callable[[], object], scorecard: Scorecard) -> None:
    """Change a file again and again, a third of the times by one bit; AssertionError if a change is not detected."""
    whole = file.read_bytes()
    scorecard.seeds.add(0)
    for number in range(TIMES):
        kind = damage(file, random.Random(f"{file.name} {number}"), "flip" if number % 3 == 0 else None)
        if file.name == COMMITTED and read_json(file) == json.loads(whole):  # the last digit of a number may not count
            file.write_bytes(whole)
            continue
        scorecard.corruptions += 1
        if kind == "flip" and file.suffix == ".safetensors":
            scorecard.safetensors_flips += 1
            scorecard.safetensors_detected += _safetensors_refuses(file)
        with pytest.raises((DamagedRunError, DamagedCheckpointError), match=str(file.parents[1])):
            reads()
        scorecard.detected += 1
        file.write_bytes(whole)
    reads()


@pytest.mark.parametrize("file", [TENSORS, LOG, MANIFEST])
def test_a_checkpoint(tmp_path: Path, scorecard: Scorecard, file: str) -> None:
    (tmp_path / "attempt-1").mkdir()
    write_checkpoint(tmp_path / "attempt-1", checkpoint(6))
    (stored,) = stored_checkpoints(tmp_path)
    corrupt(stored.path / file, lambda: stored.read(KEY), scorecard)


ARTEFACTS = ("adapter/adapter.safetensors", "adapter/adapter.json", "metrics.jsonl", "predictions.jsonl", COMMITTED)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, small_base: Path) -> Path:
    """The folder of a small sweep."""
    place = tmp_path_factory.mktemp("swept")
    (place / "small.yaml").write_text(RECIPE.format(base=small_base, place=place))
    code, told, folder = run(place / "small.yaml", "tracking.uri=none", "champions=false", "tasks=[tiny_recall]")
    assert code == 0, told
    return folder


@pytest.mark.parametrize("name", ARTEFACTS)
def test_a_committed_run(swept: Path, tmp_path: Path, scorecard: Scorecard, name: str) -> None:
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(runs_of(swept)[0], folder.path, symlinks=True)
    file = folder.path / COMMITTED if name == COMMITTED else folder.artefact(name)
    if name == COMMITTED:  # the copy in the attempt's folder is another file here, as on another disk
        assert not os.path.samefile(file, next(folder.path.glob(f"attempt-*/{COMMITTED}")))
    corrupt(file, folder.check, scorecard)


def _safetensors_refuses(file: Path) -> bool:
    try:
        load(file.read_bytes())
    except SafetensorError:
        return True
    return False
