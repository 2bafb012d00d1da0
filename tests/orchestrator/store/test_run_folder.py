"""The run folder: a crash at any instant, a late attempt and a flipped byte change no committed result unseen."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import DamagedRunError, FencedError, RunError
from orchestrator.files import read_json, sha256_of, write_bytes, write_json, write_lines
from orchestrator.store.attempt import ARTEFACTS, Attempt
from orchestrator.store.ends import COMMITTED, DIVERGED, STOPPED
from orchestrator.store.manifest import artefact_folder, canonical, sealed
from orchestrator.store.run_folder import RunFolder

ROW = {"run_key": "k", "accuracy": 0.7512, "lr": 1e-5, "settings": {"rank": 8, "tau": None}}
OPERATIONS = ("fsync", "link", "symlink", "rename", "replace", "unlink", "rmdir", "mkdir")


class Killed(BaseException):
    """The process is gone: nothing after it happens either."""


def work(attempt: Attempt, text: str = "first") -> None:
    write_bytes(attempt.path / "adapter" / "adapter.safetensors", text.encode() * 50)
    write_bytes(attempt.path / "adapter" / "adapter.json", b'{"method": "lora"}')
    write_lines(attempt.path / "metrics.jsonl", [{"step": step, "train_loss": 0.5} for step in range(3)])
    write_lines(attempt.path / "predictions.jsonl", [{"index": 0, "text": text}])


def committed(folder: Path, text: str = "first") -> RunFolder:
    run = RunFolder(folder / "run")
    attempt = run.begin({"seed": 0})
    work(attempt, text)
    attempt.commit({**ROW, "text": text})
    return run


def kill_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> list[str]:
    """Let the process die at the ``moment``-th operation on the disk; return what is done."""
    done: list[str] = []

    def counted(name: str, real: Any) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            if len(done) >= moment:
                raise Killed
            done.append(name)
            return real(*arguments, **more)

        return call

    for name in OPERATIONS:
        monkeypatch.setattr(os, name, counted(name, getattr(os, name)))
    return done


def test_a_commit_holds_row_and_artefacts_in_the_folder_of_its_attempt_and_nothing_else_there(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run").begin({})
    run = committed(tmp_path)
    run.verify()
    assert (run.ended(), run.row()["accuracy"], run.row()["text"]) == ("committed", 0.7512, "first")
    assert [line["step"] for line in run.metrics()] == [0, 1, 2]
    names = [COMMITTED, "adapter", "metrics.jsonl", "predictions.jsonl"]
    assert sorted(path.name for path in run.path.iterdir()) == sorted([*names, "attempt-2", "run.json"])
    assert sorted(path.name for path in (run.path / "attempt-2").iterdir()) == sorted(names)
    assert str((run.path / "adapter").readlink()) == "attempt-2/adapter"
    assert (run.path / "adapter" / "adapter.safetensors").read_bytes() == b"first" * 50
    assert run.artefact("adapter") == run.path / "attempt-2" / "adapter"


def test_what_an_attempt_leaves_beside_its_artefacts_goes_with_the_commit(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    attempt = run.begin({})
    work(attempt)
    write_bytes(attempt.path / "checkpoints" / "8" / "lane.safetensors", b"lane")
    write_bytes(attempt.path / "notes.txt", b"notes")
    attempt.commit(ROW)
    left = sorted(path.name for path in attempt.path.iterdir())
    assert left == [COMMITTED, "adapter", "metrics.jsonl", "predictions.jsonl"]
    run.verify()


@pytest.mark.parametrize("operation", ["symlink", "rmdir", "unlink", "replace"])
def test_a_commit_whose_tidying_fails_is_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    run = RunFolder(tmp_path / "run")
    attempt = run.begin({})
    work(attempt)
    write_bytes(attempt.path / "checkpoints" / "8" / "lane.safetensors", b"lane")
    real = os.link

    def link(*arguments: Any) -> None:
        real(*arguments)
        monkeypatch.setattr(os, operation, refused)

    def refused(*_: Any, **__: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    attempt.commit(ROW)
    run.verify()
    assert run.artefact("predictions.jsonl").is_file()


def test_a_commit_of_version_0_1_has_its_artefacts_beside_the_manifest(tmp_path: Path) -> None:
    run = old_commit(tmp_path / "run")
    run.verify()
    assert run.artefact("adapter") == run.path / "adapter"
    assert [line["step"] for line in run.metrics()] == [0, 1, 2]
    assert run.row()["text"] == "old"
    with pytest.raises(FencedError, match="is committed already"):
        run.begin({})
    (run.path / "adapter" / "adapter.safetensors").write_bytes(b"damaged")
    with pytest.raises(DamagedRunError, match=r"adapter\.safetensors is not what was committed"):
        run.verify()
    run.discard()
    committed(tmp_path, "second").verify()
    assert (run.path / "adapter" / "adapter.safetensors").read_bytes() == b"second" * 50


def test_a_manifest_whose_seal_has_another_name_is_damaged(tmp_path: Path) -> None:
    run = committed(tmp_path)
    manifest = run.path / COMMITTED
    manifest.write_bytes(manifest.read_bytes().replace(b'"seal"', b'"seam"'))
    with pytest.raises(DamagedRunError, match=r"COMMITTED\.json is not what was written"):
        run.verify()


def old_commit(place: Path) -> RunFolder:
    """Write a run's folder as version 0.1 left it."""
    work(Attempt(place, 1), "old")
    for name in ARTEFACTS:
        (place / "attempt-1" / name).rename(place / name)
    (place / "attempt-1").rmdir()
    files = {str(path.relative_to(place)): sha256_of(path) for path in sorted(place.rglob("*")) if path.is_file()}
    write_json(place / COMMITTED, sealed({"attempt": 1, "row": {**ROW, "text": "old"}, "files": files}))
    return RunFolder(place)


@pytest.mark.parametrize("name", ["../../elsewhere", "/tmp", "attempt-1/../..", "", 3, None])
def test_a_manifest_leads_to_no_folder_but_an_attempts(tmp_path: Path, name: Any) -> None:
    assert artefact_folder(tmp_path / "run", {"folder": name}) == tmp_path / "run"


def test_a_kill_at_any_instant_leaves_a_whole_commit_or_none_and_the_next_attempt_succeeds(tmp_path: Path) -> None:
    survived, lost = 0, 0
    for moment in range(500):
        folder = tmp_path / str(moment)
        work(RunFolder(folder / "run").begin({}), "an earlier attempt")
        with pytest.MonkeyPatch.context() as patch:
            done = kill_at(patch, moment)
            with contextlib.suppress(Killed):
                committed(folder)
            clean = len(done) < moment
        run = RunFolder(folder / "run")
        if run.ended():
            run.verify()
            assert run.row()["text"] == "first"
            survived += 1
        else:
            committed(folder, "second").verify()
            assert run.row()["text"] == "second"
            assert (run.artefact("adapter") / "adapter.safetensors").read_bytes() == b"second" * 50
            assert (run.path / "adapter" / "adapter.safetensors").read_bytes() == b"second" * 50
            lost += 1
        assert run.ended() == "committed"
        if clean:
            break
    assert clean
    assert lost > 20
    assert survived > 3


def fail_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> list[int]:
    """Let the ``moment``-th operation on the disk fail, once; return how many are left before it."""
    left = [moment]

    def counted(real: Any) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise OSError(5, "Input/output error")
            return real(*arguments, **more)

        return call

    for name in ("fsync", "link", "rename", "replace"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    return left


def test_a_disk_error_at_any_instant_of_a_commit_is_the_same(tmp_path: Path) -> None:
    for moment in range(1, 200):
        run = RunFolder(tmp_path / str(moment) / "run")
        attempt = run.begin({})
        work(attempt)
        with pytest.MonkeyPatch.context() as patch:
            left = fail_at(patch, moment)
            with contextlib.suppress(OSError):
                attempt.commit(ROW)
        if not run.ended():
            committed(tmp_path / str(moment), "second")
        run.verify()
        if left[0] > 0:
            return
    pytest.fail("no commit came through")


def test_a_commit_that_another_machine_made_meanwhile_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest itself is the fence: no lock is taken."""
    run = RunFolder(tmp_path / "run")
    attempt = run.begin({})
    work(attempt)
    real = os.link

    def link(*arguments: Any) -> None:
        (run.path / COMMITTED).write_bytes(b"theirs")
        real(*arguments)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(RunError, match="has been ended by another trainer"):
        attempt.commit(ROW)
    assert (run.path / COMMITTED).read_bytes() == b"theirs"


def test_an_older_attempt_cannot_commit_or_diverge_after_a_newer_has_begun(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    older = run.begin({})
    work(older, "older")
    newer = run.begin({})
    work(newer, "newer")
    assert newer.number == older.number + 1
    with pytest.raises(RunError, match="attempt 1 must not commit: attempt 2 has begun"):
        older.commit(ROW)
    with pytest.raises(RunError, match="attempt 2 has begun"):
        older.diverge(ROW)
    newer.commit({**ROW, "text": "newer"})
    with pytest.raises(RunError, match="attempt 1 must not commit: the run is committed"):
        older.commit(ROW)
    run.verify()
    assert run.row()["text"] == "newer"


def test_an_attempt_commits_once(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    attempt = run.begin({})
    work(attempt)
    attempt.commit(ROW)
    with pytest.raises(RunError, match="the run is committed"):
        Attempt(run.path, attempt.number).commit(ROW)
    run.verify()


@pytest.mark.parametrize("operation", ["fsync", "link"])
@pytest.mark.parametrize("newer_ends", ["begun", "killed before its link", "committed"])
def test_an_attempt_stopped_in_its_commit_cannot_spoil_the_commit_of_a_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, newer_ends: str, operation: str
) -> None:
    """The older has looked and not leapt when the newer begins: one of the two commits, and it is whole."""
    run = RunFolder(tmp_path / "run")
    older = run.begin({})
    work(older, "older")
    real = {name: getattr(os, name) for name in ("fsync", "link")}

    def stalled(*arguments: Any) -> None:
        monkeypatch.undo()
        newer = run.begin({})
        if newer_ends != "begun":
            work(newer, "newer")
            with pytest.MonkeyPatch.context() as patch:
                if newer_ends != "committed":
                    patch.setattr(os, "link", killed)
                with contextlib.suppress(Killed):
                    newer.commit({**ROW, "text": "newer"})
        real[operation](*arguments)

    monkeypatch.setattr(os, operation, stalled)
    if newer_ends == "committed":
        with pytest.raises(FencedError, match=r"is committed|has been ended by another trainer"):
            older.commit({**ROW, "text": "older"})
    else:
        older.commit({**ROW, "text": "older"})
    run.verify()
    winner = "newer" if newer_ends == "committed" else "older"
    assert run.row()["text"] == winner
    assert (run.artefact("adapter") / "adapter.safetensors").read_bytes() == winner.encode() * 50
    with pytest.raises(FencedError, match="is committed already"):
        run.begin({})


def killed(*_: Any) -> None:
    raise Killed


def test_a_link_whose_answer_was_lost_and_that_is_sent_again_is_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    attempt = run.begin({})
    work(attempt)
    real = os.link

    def link(*arguments: Any) -> None:
        real(*arguments)
        real(*arguments)

    monkeypatch.setattr(os, "link", link)
    attempt.commit(ROW)
    run.verify()


def test_a_trainer_that_does_not_see_the_newest_attempt_yet_gets_the_number_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS may answer a listing from a cache that is a minute old."""
    run = RunFolder(tmp_path / "run")
    assert [run.begin({}).number for _ in range(2)] == [1, 2]
    monkeypatch.setattr("orchestrator.store.run_folder.newest_attempt", lambda _: 0)
    assert run.begin({}).number == 3


def test_two_trainers_that_begin_at_once_get_attempts_of_their_own(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    numbers: list[int] = []
    threads = [threading.Thread(target=lambda: numbers.append(run.begin({}).number)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 9))


def test_of_attempts_that_commit_at_once_one_is_the_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    attempts = [run.begin({}) for _ in range(4)]
    for attempt in attempts:
        work(attempt, f"attempt {attempt.number}")
    ends: list[int] = []

    def commit(attempt: Attempt) -> None:
        try:
            attempt.commit({**ROW, "text": f"attempt {attempt.number}"})
            ends.append(attempt.number)
        except RunError:
            pass

    threads = [threading.Thread(target=commit, args=(attempt,)) for attempt in attempts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.verify()
    assert (ends, run.row()["text"]) == ([4], "attempt 4")


def test_every_flipped_byte_of_what_is_committed_is_detected(tmp_path: Path) -> None:
    run = committed(tmp_path)
    names = ("adapter/adapter.safetensors", "adapter/adapter.json", "metrics.jsonl", "predictions.jsonl")
    files = [*(run.artefact(name) for name in names), run.path / COMMITTED]
    draw = random.Random(0)
    for _ in range(200):
        file = draw.choice(files)
        content = file.read_bytes()
        where = draw.randrange(len(content))
        file.write_bytes(content[:where] + bytes([content[where] ^ 1 << draw.randrange(8)]) + content[where + 1 :])
        damaged = file.name != COMMITTED or read_json(file) is None or read_json(file) != json.loads(content)
        if damaged:
            with pytest.raises(DamagedRunError):
                run.verify()
        file.write_bytes(content)
        run.verify()


def test_a_changed_figure_in_a_manifest_is_no_result(tmp_path: Path) -> None:
    run = committed(tmp_path)
    file = run.path / COMMITTED
    file.write_bytes(file.read_bytes().replace(b"0.7512", b"0.9512"))
    for read in (run.verify, run.row):
        with pytest.raises(DamagedRunError, match=r"COMMITTED\.json is not what was written\. Delete"):
            read()


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b'{"row": {}, "files": {}}', b'{"row": {}}', b"\0" * 99]
)
def test_an_empty_or_damaged_manifest_is_told(tmp_path: Path, content: bytes) -> None:
    run = committed(tmp_path)
    (run.path / COMMITTED).write_bytes(content)
    with pytest.raises(DamagedRunError, match=COMMITTED):
        run.verify()


@pytest.mark.parametrize("name", ["adapter/adapter.safetensors", "metrics.jsonl", "predictions.jsonl"])
def test_a_missing_file_and_one_cut_short_are_told_by_name(tmp_path: Path, name: str) -> None:
    run = committed(tmp_path)
    content = run.artefact(name).read_bytes()
    run.artefact(name).write_bytes(content[:-1])
    with pytest.raises(DamagedRunError, match=f"{name} is not what was committed"):
        run.verify()
    run.artefact(name).unlink()
    with pytest.raises(DamagedRunError, match=f"{name} is missing"):
        run.verify()


def test_files_exchanged_between_runs_are_told(tmp_path: Path) -> None:
    run, other = committed(tmp_path), committed(tmp_path / "other", "second")
    shutil.copy(other.artefact("predictions.jsonl"), run.artefact("predictions.jsonl"))
    with pytest.raises(DamagedRunError, match=r"predictions\.jsonl is not what was committed"):
        run.verify()


def test_a_discarded_commit_is_trained_again(tmp_path: Path) -> None:
    run = committed(tmp_path)
    (run.path / "metrics.jsonl").write_bytes(b"")
    for number in (1, 2):
        run.discard()
        assert run.ended() is None
        evidence = [path.name for path in run.path.glob("*.damaged-*")]
        assert sorted(evidence) == [f"{COMMITTED}.damaged-{one}" for one in range(1, number + 1)]
        committed(tmp_path, "second").verify()
        assert run.row()["text"] == "second"


def test_a_run_that_diverged_has_ended_and_has_a_row_and_no_adapter(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    attempt = run.begin({})
    attempt.diverge({**ROW, "status": "diverged"})
    assert (run.ended(), run.row()["status"]) == ("diverged", "diverged")
    with pytest.raises(RunError, match="is diverged"):
        run.begin({}).commit(ROW)
    (run.path / DIVERGED).write_bytes(b"{")
    with pytest.raises(DamagedRunError, match=DIVERGED):
        run.row()


def test_a_run_that_was_stopped_has_ended_by_its_rule_until_the_stop_is_taken_back(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    attempt = run.begin({})
    assert run.stopped_by() is None
    write_lines(attempt.path / "metrics.jsonl", [{"step": 0}])
    attempt.stop({**ROW, "status": "stopped"}, "a rule")
    assert (run.ended(), run.row()["status"], run.stopped_by()) == ("stopped", "stopped", "a rule")
    with pytest.raises(RunError, match="is stopped"):
        run.begin({})
    with pytest.raises(FencedError, match="is stopped"):
        attempt.commit(ROW)
    run.reopen()
    assert (run.ended(), run.stopped_by()) == (None, None)
    second = run.begin({})
    with pytest.raises(FencedError, match="attempt 2 has begun"):
        attempt.stop(ROW, "a rule")
    work(second)
    second.commit(ROW)
    run.reopen()
    assert run.ended() == "committed"
    run.verify()


def test_a_stop_that_cannot_be_read_is_a_damaged_end(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.begin({}).stop({**ROW, "status": "stopped"}, "a rule")
    (run.path / STOPPED).write_bytes(b"{")
    assert run.stopped_by() is None
    with pytest.raises(DamagedRunError, match=STOPPED):
        run.check()
    run.discard()
    assert run.ended() is None


def test_a_run_that_nobody_has_tried_is_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert (run.ended(), run.metrics()) == (None, [])
    with pytest.raises(DamagedRunError):
        run.row()


def test_the_metrics_of_a_run_at_work_are_those_of_its_newest_attempt(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    for number in range(11):  # 10 is newer than 9, though not in the alphabet
        write_lines(run.begin({}).path / "metrics.jsonl", [{"step": number}])
    assert run.metrics() == [{"step": 10}]


def test_what_is_compared_has_made_the_journey_through_json() -> None:
    assert canonical({"a": (1, 2)}) == {"a": [1, 2]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": float("inf")})


def test_a_run_that_has_ended_opens_no_attempt(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    attempt = run.begin({})
    work(attempt)
    attempt.commit(ROW)
    with pytest.raises(FencedError, match="is committed already"):
        run.begin({})
    assert [path.name for path in run.path.glob("attempt-*")] == ["attempt-1"]
