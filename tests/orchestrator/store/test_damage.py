"""Damaged ends: read twice, set aside with their evidence, and never many at once."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import InputError
from orchestrator.store import damage
from orchestrator.store.damage import take_back_damaged
from orchestrator.store.ends import COMMITTED
from orchestrator.store.run_folder import RunFolder
from tests.orchestrator.store.test_run_folder import ROW, committed


def runs(place: Path, number: int) -> list[RunFolder]:
    """Return committed runs, of whom the last has been begun only."""
    begun = RunFolder(place / "runs" / "begun")
    begun.begin({})
    done = [committed(place / "work" / str(one)).path.rename(place / "runs" / str(one)) for one in range(number)]
    return [*map(RunFolder, done), begun]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damage, "PAUSE_SECONDS", 0.0)


def cut(run: RunFolder) -> None:
    (run.path / COMMITTED).write_bytes(b"{")


def change(run: RunFolder) -> None:
    run.artefact("predictions.jsonl").write_bytes(b"{}")


def remove(run: RunFolder) -> None:
    run.artefact("adapter").rename(run.path / "gone")


@pytest.mark.parametrize("spoil", [cut, change, remove])
def test_a_few_damaged_runs_are_set_aside_with_their_evidence(
    tmp_path: Path, spoil: Callable[[RunFolder], None]
) -> None:
    folders, lines = runs(tmp_path, 5), list[str]()
    for run in folders[:3]:
        spoil(run)
    evidence = (folders[0].path / COMMITTED).read_bytes()
    take_back_damaged(folders, lines.append)
    assert [run.ended() for run in folders] == [None] * 3 + ["committed"] * 2 + [None]
    assert (folders[0].path / f"{COMMITTED}.damaged-1").read_bytes() == evidence
    assert [line[:9] for line in lines] == ["damaged: "] * 3
    take_back_damaged(folders, lines.append)
    assert len(lines) == 3


def test_many_damaged_runs_are_refused_untouched_and_the_remedy_works(tmp_path: Path) -> None:
    folders = runs(tmp_path, 6)
    for run in folders[:4]:
        cut(run)
    with pytest.raises(InputError, match="4 runs of the 6 that have ended are damaged") as refused:
        take_back_damaged(folders, pytest.fail)
    assert [run.ended() for run in folders] == ["committed"] * 6 + [None]
    remedy = str(refused.value).rsplit("again: ", 1)[1]
    subprocess.run(shlex.split(remedy), check=True)
    take_back_damaged(folders, pytest.fail)
    assert [run.ended() for run in folders] == [None] * 4 + ["committed"] * 2 + [None]


def test_of_many_runs_a_tenth_may_be_damaged(tmp_path: Path) -> None:
    folders, lines = runs(tmp_path, 40), list[str]()
    for run in folders[:4]:
        cut(run)
    take_back_damaged(folders, lines.append)
    assert len(lines) == 4


def test_a_file_that_reads_well_at_the_second_look_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = runs(tmp_path, 2)
    content = (folders[0].path / COMMITTED).read_bytes()
    cut(folders[0])
    monkeypatch.setattr(damage.time, "sleep", lambda _: (folders[0].path / COMMITTED).write_bytes(content))
    take_back_damaged(folders, pytest.fail)
    assert folders[0].row()["run_key"] == ROW["run_key"]


def test_a_file_that_cannot_be_read_ends_the_sweep_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = runs(tmp_path, 2)
    real = Path.read_bytes

    def read(path: Path) -> bytes:
        if path == folders[1].path / COMMITTED:
            raise OSError(5, "Input/output error", str(path))
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    with pytest.raises(OSError, match="Input/output error"):
        take_back_damaged(folders, pytest.fail)
    assert [run.ended() for run in folders] == ["committed"] * 2 + [None]
