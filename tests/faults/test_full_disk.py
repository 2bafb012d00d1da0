"""A disk that is full, really (a small tmpfs): one typed error, what was saved stays, and more room is enough (K15)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.scorecard import Scorecard
from tests.helpers.faults.nothing_lost import assert_nothing_lost
from tests.helpers.places import ROOT
from tests.helpers.sweeps import RECIPE, run

pytestmark = [pytest.mark.slow, pytest.mark.rare]
WORDS = ("tracking.uri=none", "champions=false", "cluster.pack=1", "tasks=[tiny_recall]", "seeds=[0]")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB; mounting wants root."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def sweep(recipe: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "jobs/sweep.py", str(recipe), *WORDS]
    return subprocess.run(
        words, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("spare", [0, 40_000, 80_000])
def test_a_sweep_on_a_full_disk_says_so_and_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path, small_base: Path, scorecard: Scorecard, spare: int
) -> None:
    """The disk has ``spare`` bytes left when the runs begin: it fills before, during and after the first runs."""
    (tmp_path / "golden").mkdir()
    for place in (tmp_path / "golden", small_disk):
        (place / "small.yaml").write_text(RECIPE.format(base=small_base, place=place))
    assert run(tmp_path / "golden" / "small.yaml", *WORDS)[0] == 0
    shutil.copytree(tmp_path / "golden" / "sweeps" / ".cache", small_disk / "sweeps" / ".cache")
    filler = small_disk / "filler"
    with filler.open("wb") as file:
        file.truncate(0)
        room = shutil.disk_usage(small_disk).free
        file.write(bytes(max(0, room - spare)))
    full = sweep(small_disk / "small.yaml")
    scorecard.failures += 1
    assert full.returncode in (1, 2), full.stdout + full.stderr
    assert "Traceback" not in full.stdout + full.stderr
    assert "No space left on device" in full.stdout + full.stderr
    filler.unlink()
    again = sweep(small_disk / "small.yaml")
    assert again.returncode == 0, again.stdout + again.stderr
    assert_nothing_lost(small_disk / "sweeps" / "small", tmp_path / "golden" / "sweeps" / "small")
