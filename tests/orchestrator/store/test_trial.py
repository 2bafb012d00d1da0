"""Storage that lacks a call is refused before anything is trained, from the driver and from a worker."""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jobs.sweep
from jobs.command import run_job
from orchestrator.errors import InputError
from orchestrator.store import trial, try_objects
from orchestrator.store.trial import StorageTrial, try_here
from orchestrator.store.try_files import try_storage
from tests.helpers.places import ROOT
from tests.helpers.stores import BUCKET, machine, server, store  # noqa: F401 - fixtures


def refused(number: int) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize(
    ("module", "call", "what"),
    [
        (os, "mkdir", "make a folder"),
        (os, "fsync", "make a f"),
        (os, "replace", "rename a file"),
        (os, "link", "create a hard link, by which each run ends once"),
        (fcntl, "flock", "lock a file"),
        (os, "unlink", "delete a file"),
    ],
)
@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EIO])
def test_a_call_that_the_storage_lacks_is_named_with_folder_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, call: str, what: str, number: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, call, refused(number))
        with pytest.raises(InputError) as error:
            try_storage(tmp_path / "sweeps", "n")
    assert f"storage={tmp_path / 'sweeps'}: cannot {what}" in str(error.value)
    assert os.strerror(number) in str(error.value)
    assert "NFS 4 such as EFS" in str(error.value)
    assert str(error.value).endswith("Give another folder: storage=FOLDER")
    try_storage(tmp_path / "elsewhere", "n")


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_folder_without_room_or_permission_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "fsync", refused(number))
    with pytest.raises(InputError, match="Make the folder writable and make room there"):
        try_storage(tmp_path, "n")


def replacing_link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    target.write_bytes(source.read_bytes())


@pytest.mark.parametrize(
    ("module", "call", "instead", "what"),
    [
        (os, "link", replacing_link, "create a hard link only where no file is"),
        (fcntl, "flock", lambda *_: None, "keep a lock against a second process"),
        (os, "replace", lambda *_: None, "read back what was written"),
    ],
)
def test_a_call_that_succeeds_without_its_effect_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, call: str, instead: Any, what: str
) -> None:
    monkeypatch.setattr(module, call, instead)
    with pytest.raises(InputError, match=f"cannot {what}"):
        try_storage(tmp_path, "n")


def test_a_trial_takes_little_time_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    start = time.perf_counter()
    with StorageTrial(tmp_path) as tried:
        for _ in range(2):
            tried.check(tried.from_worker(tmp_path))
    assert time.perf_counter() - start < 2
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_worker_in_another_process_sees_the_drivers_storage(tmp_path: Path) -> None:
    with StorageTrial(tmp_path) as tried:
        code = (
            f"import pickle; from pathlib import Path; print(pickle.loads({pickle.dumps(tried.from_worker)!r})"
            f"(Path({str(tmp_path)!r})))"
        )
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
        tried.check(answer.stdout.strip())


def test_a_worker_that_does_not_see_the_drivers_folder_is_refused(tmp_path: Path) -> None:
    with (
        StorageTrial(tmp_path / "driver") as tried,
        pytest.raises(InputError, match=r"does not see the driver's folder .+ Mount one storage at this path"),
    ):
        tried.from_worker(tmp_path / "worker")


def test_a_driver_that_does_not_see_the_workers_file_refuses(tmp_path: Path) -> None:
    with (
        StorageTrial(tmp_path) as tried,
        pytest.raises(InputError, match=r"does not see what a worker has written \(node-1\)\. Mount one"),
    ):
        tried.check("node-1")


def test_a_lock_that_does_not_reach_the_worker_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with StorageTrial(tmp_path) as tried:
        monkeypatch.setattr(trial, "gets_lock", lambda _: True)
        with pytest.raises(InputError, match="a lock of the driver does not reach the worker"):
            tried.from_worker(tmp_path)


def test_a_store_is_tried_by_driver_and_worker_and_keeps_nothing(store: Any) -> None:  # noqa: F811
    with StorageTrial(machine("a")) as tried:
        tried.check(tried.from_worker(machine("b")))
        with pytest.raises(InputError, match="does not see what a worker has written"):
            tried.check("nobody")
    assert store.find(BUCKET) == []
    with pytest.raises(InputError, match="does not see the driver's folder"):
        tried.from_worker(machine("b"))


def test_a_bucket_that_is_not_there_is_told_with_the_remedy_and_then_it_works(store: Any) -> None:  # noqa: F811
    store.rmdir(BUCKET)
    with pytest.raises(InputError) as error:
        try_here(machine("a"))
    assert f"storage=s3://{BUCKET}/all: this store cannot be reached: " in str(error.value)
    assert "Check that the bucket is there" in str(error.value)
    store.mkdir(BUCKET)
    try_here(machine("a"))


def test_a_store_without_conditional_creation_is_refused(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    real = store.pipe_file
    monkeypatch.setattr(store, "pipe_file", lambda key, content, **_: real(key, content))
    with pytest.raises(InputError, match=r"cannot create an object only where none is.+ must honour conditional PUT"):
        try_here(machine("a"))


def test_a_store_that_does_not_answer_is_told_before_anything_is_trained(
    store: Any,  # noqa: F811
    server: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(try_objects, "PATIENCE_SECONDS", 0.5)
    server.away.set()
    with pytest.raises(InputError, match=r"cannot be reached: .*the store does not answer"):
        try_here(machine("a"))
    server.away.clear()
    try_here(machine("a"))


def test_what_a_killed_trial_has_left_goes_with_a_later_trial(tmp_path: Path) -> None:
    for name, age in ((".try-old", 2 * trial.STALE_SECONDS), (".try-young", 60.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "nonce").touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with StorageTrial(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".try-young"]


def test_a_sweep_on_storage_without_links_ends_with_2_before_anything_and_elsewhere_it_starts(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = os.link

    def link(source: Any, target: Any, **more: Any) -> None:
        if str(target).startswith(str(tmp_path / "sweeps")):
            raise OSError(errno.EPERM, "Operation not permitted", str(source))
        real(source, target, **more)

    monkeypatch.setattr(os, "link", link)
    words = ["tasks=[tiny_recall]", "methods=[lora]", "seeds=[0]", "champions=false", "tracking.uri=none"]
    assert run_job("sweep", "test", jobs.sweep.main, [str(recipe), *words]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"storage={tmp_path / 'sweeps'}: cannot create a hard link" in told
    assert not [*(tmp_path / "sweeps").iterdir()]
    assert run_job("sweep", "test", jobs.sweep.main, [str(recipe), *words, f"storage={tmp_path / 'other'}"]) == 0
