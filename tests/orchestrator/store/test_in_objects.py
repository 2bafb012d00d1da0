"""Runs in an object store: one commit per run, whoever is killed, whatever is lost, and on any machine."""

from __future__ import annotations

import contextlib
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import objects
from orchestrator.errors import FencedError
from orchestrator.files import write_json
from orchestrator.store import damage
from orchestrator.store.attempt import Attempt
from orchestrator.store.damage import take_back_damaged
from orchestrator.store.ends import COMMITTED, STOPPED
from orchestrator.store.run_folder import RunFolder
from orchestrator.store.sweep_folder import SweepFolder
from tests.helpers.stores import BUCKET, machine, server, store  # noqa: F401 - fixtures
from tests.helpers.sweeps import rows_of, run
from tests.orchestrator.store.test_run_folder import ROW, Killed, work

SWEEP = f"{BUCKET}/all/small"


def sweep(name: str, key: str) -> SweepFolder:
    """Return the sweep of a run as the machine ``name`` sees it: the run ``k`` is in ``small``, another by itself."""
    return SweepFolder(machine(name) / ("small" if key == "k" else key))


def on(name: str, key: str = "k") -> RunFolder:
    """Return the run as the machine ``name`` sees it."""
    return sweep(name, key).run(key)


def seen_from(name: str, key: str = "k") -> RunFolder:
    """Return the run as a driver that starts on the machine ``name`` sees it."""
    sweep(name, key).fetch()
    return on(name, key)


def committed(name: str, text: str = "first", key: str = "k") -> RunFolder:
    attempt = on(name, key).begin({"seed": 0})
    work(attempt, text)
    attempt.commit({**ROW, "text": text})
    return on(name, key)


def text_of(run: RunFolder) -> str:
    run.verify()
    text = str(run.row()["text"])
    assert (run.artefact("adapter") / "adapter.safetensors").read_bytes() == text.encode() * 50
    return text


def test_a_commit_is_seen_whole_from_another_machine(store: Any) -> None:  # noqa: F811
    here = committed("a")
    there = seen_from("b")
    assert text_of(here) == text_of(there) == "first"
    assert there.metrics() == here.metrics()
    assert read_spec(there) == read_spec(here)
    with pytest.raises(FencedError, match="is committed already"):
        on("b").begin({})
    names = {name.removeprefix(f"{SWEEP}/runs/k/") for name in store.find(SWEEP)}
    files = {"adapter/adapter.json", "adapter/adapter.safetensors", "begun.json", "metrics.jsonl", "predictions.jsonl"}
    assert names == {COMMITTED, "run.json", *(f"attempt-1/{file}" for file in files)}


def read_spec(run: RunFolder) -> bytes:
    return (run.path / "run.json").read_bytes()


def test_machines_that_begin_at_once_get_attempts_of_their_own(store: Any) -> None:  # noqa: F811
    numbers: list[int] = []
    threads = [
        threading.Thread(target=lambda name=name: numbers.append(on(name).begin({}).number)) for name in "aabbccdd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 9))


def test_of_machines_that_commit_at_once_one_is_the_run(store: Any) -> None:  # noqa: F811
    """All have looked before any of them leaps: only the conditional creation decides."""
    attempts = [on(name).begin({}) for name in "abcd"]
    for attempt in attempts:
        work(attempt, f"attempt {attempt.number}")
    together, ends = threading.Barrier(4), list[int]()

    def commit(attempt: Attempt) -> None:
        with contextlib.suppress(FencedError):
            attempt.commit({**ROW, "text": f"attempt {attempt.number}"})
            ends.append(attempt.number)

    real = objects.create

    def create(path: Path, content: bytes) -> bool:
        together.wait(30)
        return real(path, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Attempt, "_check_not_fenced", lambda _: None)
        patch.setattr(objects, "create", create)
        threads = [threading.Thread(target=commit, args=(attempt,)) for attempt in attempts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(ends) == 1
    for name in "abcdx":
        assert text_of(seen_from(name)) == f"attempt {ends[0]}"


def test_a_commit_that_a_driver_on_the_same_machine_fetches_this_instant_is_a_commit(
    store: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = objects.create

    def create(path: Path, content: bytes) -> bool:
        created = real(path, content)
        if path.name == COMMITTED:
            sweep("a", "k").fetch()
        return created

    monkeypatch.setattr(objects, "create", create)
    assert text_of(committed("a")) == "first"


def test_an_older_attempt_cannot_end_the_run_after_a_newer_has_begun_elsewhere(store: Any) -> None:  # noqa: F811
    older = on("a").begin({})
    work(older, "older")
    newer = on("b").begin({})
    assert newer.number == 2
    for end in (lambda: older.commit(ROW), lambda: older.diverge(ROW), lambda: older.stop(ROW, "a rule")):
        with pytest.raises(FencedError, match="attempt 2 has begun"):
            end()
    work(newer, "newer")
    newer.commit({**ROW, "text": "newer"})
    with pytest.raises(FencedError, match="the run is committed"):
        older.commit(ROW)
    assert text_of(seen_from("a")) == "newer"
    assert not store.find(f"{SWEEP}/runs/k/attempt-1")


def test_a_stop_that_is_taken_back_on_one_machine_is_taken_back_on_all(store: Any) -> None:  # noqa: F811
    on("a").begin({}).stop({**ROW, "status": "stopped"}, "a rule")
    assert (seen_from("b").stopped_by(), on("a").ended()) == ("a rule", "stopped")
    on("b").reopen()
    assert not store.exists(f"{SWEEP}/runs/k/{STOPPED}")
    assert text_of(committed("a")) == "first"
    assert text_of(seen_from("b")) == "first"


@pytest.mark.parametrize("lost", ["near", "far"])
def test_a_damaged_near_copy_is_fetched_again_and_a_damaged_object_is_set_aside(
    store: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    lost: str,
) -> None:
    monkeypatch.setattr(damage, "PAUSE_SECONDS", 0.0)
    run, lines = committed("a"), list[str]()
    file = run.artefact("adapter") / "adapter.safetensors"
    damaged = b"x" + file.read_bytes()[1:]
    if lost == "far":
        store.pipe_file(f"{SWEEP}/runs/k/attempt-1/adapter/adapter.safetensors", damaged)
    file.write_bytes(damaged)
    take_back_damaged([run], lines.append)
    if lost == "near":
        assert (lines, text_of(run)) == ([], "first")
        return
    assert len(lines) == 1
    assert store.exists(f"{SWEEP}/runs/k/{COMMITTED}.damaged-1")
    assert seen_from("b").ended() is None
    assert text_of(committed("b", "second")) == "second"
    assert text_of(seen_from("a")) == "second"


def every_request(monkeypatch: pytest.MonkeyPatch, instead: Callable[[int, Callable[[], Any]], Any]) -> list[int]:
    """Let ``instead(number, request)`` answer each request to the store; return the number of requests so far."""
    done, real = [0], objects._ask

    def ask(path: Path, call: Callable[[Any, str], Any]) -> Any:
        done[0] += 1
        return instead(done[0], lambda: real(path, call))

    monkeypatch.setattr(objects, "_ask", ask)
    return done


@pytest.mark.slow
@pytest.mark.parametrize("answered", [False, pytest.param(True, marks=pytest.mark.rare)])
def test_a_kill_at_any_request_leaves_a_whole_commit_or_none_and_the_next_machine_succeeds(
    store: Any,  # noqa: F811
    answered: bool,
) -> None:
    survived, lost, clean = 0, 0, False
    for moment in range(1, 100):
        key = f"k{moment}"

        def killed(number: int, request: Callable[[], Any], moment: int = moment) -> Any:
            if number > moment or (number == moment and not answered):
                raise Killed
            answer = request()
            if number == moment:
                raise Killed
            return answer

        with pytest.MonkeyPatch.context() as patch:
            done = every_request(patch, killed)
            with contextlib.suppress(Killed):
                committed("a", key=key)
            clean = done[0] < moment
        other = seen_from("b", key)
        if other.ended():
            survived += 1
            assert text_of(other) == "first"
        else:
            lost += 1
            assert text_of(committed("b", "second", key)) == "second"
            assert text_of(seen_from("a", key)) == "second"
        if clean:
            break
    assert clean
    assert lost > 8
    assert survived >= 1


def test_requests_whose_answers_are_lost_are_made_again_and_change_nothing(
    store: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every third request arrives and its answer does not; every fourth does not arrive."""
    monkeypatch.setattr(objects, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(objects.time, "sleep", lambda _: None)
    calls = {"number": 0}

    class Lossy:
        def __getattr__(self, name: str) -> Any:
            real = getattr(store, name)

            def call(*arguments: Any, **more: Any) -> Any:
                calls["number"] += 1
                if calls["number"] % 4 == 0:
                    raise ConnectionError("no way there")
                answer = real(*arguments, **more)
                if calls["number"] % 3 == 0:
                    raise ConnectionError("no way back")
                return answer

            return call

    with monkeypatch.context() as patch:
        patch.setattr(objects, "_store", lambda *_: Lossy())
        for number in range(5):
            assert text_of(committed("a", key=f"k{number}")) == "first"
            assert text_of(seen_from("b", f"k{number}")) == "first"
    assert calls["number"] > 100


def test_a_store_that_is_away_costs_time_only_and_one_that_stays_away_is_told(
    store: Any,  # noqa: F811
    server: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempt = on("a").begin({})
    work(attempt)
    away = server.away
    away.set()
    back = threading.Timer(2.0, away.clear)
    back.start()
    attempt.commit({**ROW, "text": "first"})
    assert not away.is_set()
    assert text_of(seen_from("b")) == "first"
    away.set()
    with pytest.raises(OSError, match="the store does not answer"), objects.patience(0.5):
        on("c").begin({})
    away.clear()


def test_what_belongs_to_a_machine_or_to_an_attempt_at_work_is_not_put_into_the_store(store: Any) -> None:  # noqa: F811
    folder = SweepFolder(machine("a") / "small")
    attempt = folder.run("k").begin({})
    work(attempt)
    write_json(folder.cache / "data" / "rows.json", {})
    write_json(folder.path / ".ray" / "x.json", {})
    write_json(folder.summary, {})
    names = {name.removeprefix(f"{BUCKET}/all/") for name in store.find(f"{BUCKET}/all")}
    assert names == {"small/runs/k/run.json", "small/runs/k/attempt-1/begun.json", "small/summary.json"}


def test_a_cache_that_is_shared_is_there_on_other_machines_when_they_need_it(store: Any) -> None:  # noqa: F811
    base, rows = machine("a") / ".cache" / "models" / "base", machine("a") / ".cache" / "data" / "rows.npz"
    for file in (base / "config.json", base / "model.safetensors", rows):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(random.randbytes(100))
    for path in (base, rows):
        objects.share(path)
        other = machine("b") / path.relative_to(machine("a"))
        for _ in range(2):
            objects.ensure(other)
    for file in (base / "config.json", base / "model.safetensors", rows):
        assert (machine("b") / file.relative_to(machine("a"))).read_bytes() == file.read_bytes()


WORDS = ("tasks=[tiny_recall]", f"storage=s3://{BUCKET}/all", "tracking.uri=none")


@pytest.mark.slow
@pytest.mark.rare
def test_a_sweep_lands_in_the_store_and_another_machine_takes_it_up(recipe: Path, store: Any) -> None:  # noqa: F811
    code, output, folder = run(recipe, *WORDS)
    assert code == 0, output
    rows = rows_of(folder)
    names = {name.removeprefix(f"{SWEEP}/") for name in store.find(SWEEP)}
    assert {"sweep.json", "results.jsonl", "summary.json", "report.html"} <= names
    assert {"champions/tiny_recall/model.safetensors", "champions/tiny_recall/evaluation.json"} <= names
    for row in rows:
        key = row["run_key"]
        assert {f"runs/{key}/COMMITTED.json", f"runs/{key}/attempt-1/adapter/adapter.safetensors"} <= names
        assert f"predictions/{key}.jsonl" in names
    before = (folder / "results.jsonl").read_bytes()
    shutil.rmtree(folder.parents[4])  # another machine has no near copy
    code, output, folder = run(recipe, *WORDS)
    assert code == 0, output
    assert "4 done already, 0 to train" in output
    assert "merging" not in output
    for row in rows:
        RunFolder(folder / "runs" / row["run_key"]).verify()
    assert (folder / "results.jsonl").read_bytes() == before
