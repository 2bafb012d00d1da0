"""A checkpoint is read as it was written, or not at all: whatever byte is changed, cut off or put elsewhere."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from orchestrator.errors import DamagedCheckpointError, RunError
from orchestrator.store.checkpoint import (
    LOG,
    MANIFEST,
    TENSORS,
    Checkpoint,
    StoredCheckpoint,
    sound_checkpoints,
    stored_checkpoints,
    write_checkpoint,
)
from orchestrator.worker.resume import go_on_from
from tests.helpers.faults.damage import damage


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.store.checkpoint.AGAIN_SECONDS", (0.0,))


KEY, OTHER = "0123456789abcdef", "fedcba9876543210"


def checkpoint(step: int, key: str = KEY, together: tuple[str, ...] = (KEY,)) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    adapter, first, second = ({"layer.up": torch.randn(64, 32, generator=generator)} for _ in range(3))
    log = b"".join(b'{"step": %d, "train_loss": 0.1, "tokens": 8}\n' % number for number in range(step))
    return Checkpoint(key, step, together, adapter, first, second, step, log, 1.5, 2.5, 3.5, resumed=(1,))


def written(run: Path, *steps: int, attempt: int = 1) -> list[Path]:
    """Write checkpoints at these steps; return the folders of those that are left, the newest first."""
    (run / f"attempt-{attempt}").mkdir(parents=True, exist_ok=True)
    for step in steps:
        write_checkpoint(run / f"attempt-{attempt}", checkpoint(step))
    return [stored.path for stored in stored_checkpoints(run)]


def test_a_checkpoint_comes_back_as_it_was_and_the_two_newest_are_kept(tmp_path: Path) -> None:
    written(tmp_path, 3, 6, 9)
    sound = sound_checkpoints(tmp_path, KEY)
    assert list(sound) == [9, 6]
    again, before = sound[9].read(KEY), checkpoint(9)
    for part in ("adapter", "first", "second"):
        assert torch.equal(getattr(again, part)["layer.up"], getattr(before, part)["layer.up"])
    assert (again.log, again.seconds, again.cpu_seconds, again.resumed) == (before.log, 1.5, 2.5, (1,))
    assert (again.updates, again.peak_megabytes, again.together, len(again.rows)) == (9, 3.5, (KEY,), 9)


def test_a_later_attempt_takes_the_place_of_an_earlier_ones_and_an_earlier_one_touches_no_later(tmp_path: Path) -> None:
    written(tmp_path, 3, 6, attempt=1)
    (newest, _) = written(tmp_path, 9, attempt=2)
    assert newest.parts[-3] == "attempt-2"
    left = written(tmp_path, 12, 15, attempt=1)  # a trainer that was given up, and does not know it
    assert [path.name for path in left] == ["00000015", "00000012", "00000009"]


@pytest.mark.parametrize("file", [TENSORS, LOG, MANIFEST])
def test_every_corruption_is_detected_and_the_checkpoint_before_is_used(tmp_path: Path, file: str) -> None:
    (newest, _) = written(tmp_path / "run", 3, 6)
    whole = (newest / file).read_bytes()
    plain = 0
    for seed in range(200):
        damage(newest / file, random.Random(f"{file} {seed}"))
        if file == TENSORS:
            try:
                load((newest / file).read_bytes())
                plain += 1  # safetensors alone takes it
            except SafetensorError:
                pass
        assert list(sound_checkpoints(tmp_path / "run", KEY)) == [3], seed
        newest.with_name("00000006.damaged").rename(newest)  # where it is set aside
        (newest / file).write_bytes(whole)
    assert file != TENSORS or plain > 50  # so the corruptions are none that safetensors would have found
    assert list(sound_checkpoints(tmp_path / "run", KEY)) == [6, 3]


@pytest.mark.parametrize("change", ["missing", "swapped", "another run", "another step", "empty manifest"])
def test_files_of_another_place_are_no_checkpoint(tmp_path: Path, change: str) -> None:
    newest, older = written(tmp_path, 3, 6)
    if change == "missing":
        (newest / LOG).unlink()
    elif change == "swapped":
        shutil.copy(older / TENSORS, newest / TENSORS)
    elif change == "another run":
        shutil.rmtree(newest)
        write_checkpoint(tmp_path / "attempt-1", checkpoint(6, OTHER))
    elif change == "another step":
        shutil.rmtree(newest)
        shutil.copytree(older, newest)
    else:
        (newest / MANIFEST).write_text("{}")
    (stored, *_) = stored_checkpoints(tmp_path)
    with pytest.raises(DamagedCheckpointError, match=str(newest)):
        stored.read(KEY)
    assert list(sound_checkpoints(tmp_path, KEY)) == [3]


def test_a_folder_without_a_manifest_is_no_checkpoint(tmp_path: Path) -> None:
    newest, _ = written(tmp_path, 3, 6)
    os.unlink(newest / MANIFEST)
    assert [stored.step for stored in stored_checkpoints(tmp_path)] == [3]


def sound(*steps: int, together: tuple[str, ...], leaving: tuple[str, ...] = ()) -> dict[int, StoredCheckpoint]:
    return {
        step: StoredCheckpoint(Path(f"{step:08d}"), together, leaving if step == steps[-1] else ()) for step in steps
    }


BOTH = (KEY, OTHER)


@pytest.mark.parametrize(
    ("own", "others", "chosen"),
    [
        ((4, 6), (4, 6), (6, 6)),
        ((4, 6), (2, 4), (4, 4)),  # a kill between the two runs of a save
        ((2,), (), (None, None)),  # the same at the first save
        ((4, 6), (), (6, None)),  # both of the other's are damaged
        ((4, 6), (4,), (4, 4)),  # the newest of the other is damaged
    ],
)
def test_runs_that_were_saved_together_go_on_from_the_same_step(
    own: tuple[int, ...], others: tuple[int, ...], chosen: tuple[int | None, ...]
) -> None:
    begins = go_on_from({KEY: sound(*own, together=BOTH), OTHER: sound(*others, together=BOTH)})
    assert tuple(begun and begun.step for begun in begins.values()) == chosen


def test_runs_of_different_packs_go_on_each_from_its_own_step(tmp_path: Path) -> None:
    begins = go_on_from({KEY: sound(30, together=(KEY, "x")), OTHER: sound(70, together=(OTHER, "y"))})
    assert [begun and begun.step for begun in begins.values()] == [30, 70]


def test_a_seal_that_fits_other_content_does_not_help(tmp_path: Path) -> None:
    newest, _ = written(tmp_path, 3, 6)
    manifest = json.loads((newest / MANIFEST).read_text())
    (newest / MANIFEST).write_text(json.dumps(manifest | {"step": 6, "updates": 7}))
    assert list(sound_checkpoints(tmp_path, KEY)) == [3]


def test_runs_do_not_go_on_from_a_step_in_which_a_neighbour_was_about_to_leave() -> None:
    """It had diverged, and the kill came before its end was written: it has to diverge beside them again."""
    stayed = sound(4, 6, together=BOTH, leaving=(OTHER,))
    diverged = sound(2, 4, together=BOTH)
    begins = go_on_from({KEY: stayed, OTHER: diverged})
    assert [begun and begun.step for begun in begins.values()] == [4, 4]
    assert [begun and begun.step for begun in go_on_from({KEY: stayed}).values()] == [6]  # it has ended


def test_a_file_system_that_fails_damages_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest, _ = written(tmp_path, 3, 6)
    read, failures = Path.read_bytes, [5]

    def failing(path: Path) -> bytes:
        if path.name == TENSORS and failures[0]:
            failures[0] -= 1
            raise OSError(5, "Input/output error")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(RunError, match=r"Mend the storage and give the same command"):
        sound_checkpoints(tmp_path, KEY)
    failures[0] = 1  # for a moment
    assert list(sound_checkpoints(tmp_path, KEY)) == [6, 3]
    assert newest.exists()


def test_a_trainer_that_was_given_up_writes_nothing_into_a_run_that_has_ended(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_checkpoint(tmp_path / "attempt-1", checkpoint(3))
    assert list(tmp_path.iterdir()) == []
