"""Of two drivers that start together on one storage exactly one works; the other ends with 75 and names the first."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jobs.command import run_job
from orchestrator import objects
from orchestrator.errors import HeldError
from orchestrator.files import write_bytes
from orchestrator.store import far_lease
from orchestrator.store.lease import hold
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.store.trial import try_here
from tests.helpers.places import ROOT
from tests.helpers.stores import BUCKET, machine, server, store  # noqa: F401 - fixtures

ROUNDS = 20
RECIPE = "name: held\ntasks: [tiny_recall]\nmethods: [lora]\nseeds: [0]\n"
WORK_SECONDS = 0.3


def work(spec: Any, command: str, console: Any) -> int:
    folder = SweepFolder.of(spec).path
    try_here(folder.parent)
    with hold(folder):
        write_bytes(folder / f"worked-{os.getpid()}", b"")
        time.sleep(WORK_SECONDS)
    return 0


def drive(recipe: Path, storage: str, together: Any, answers: Any) -> None:
    """Be a driver in every round; answer with this process's exit code and what it has printed."""
    for number in range(ROUNDS):
        together.wait()
        told = io.StringIO()
        with contextlib.redirect_stderr(told):
            code = run_job("sweep", "test", work, [str(recipe), f"storage={storage}/{number}"])
        answers.put((number, os.getpid(), code, " ".join(told.getvalue().split())))


def two_drivers(recipe: Path, storage: str) -> dict[int, dict[int, tuple[int, str]]]:
    """Start two drivers together in each round; return by round and exit code the process and what it has printed."""
    context = multiprocessing.get_context("spawn")
    together, answers = context.Barrier(2), context.Queue()
    drivers = [context.Process(target=drive, args=(recipe, storage, together, answers)) for _ in range(2)]
    for driver in drivers:
        driver.start()
    rounds: dict[int, dict[int, tuple[int, str]]] = {number: {} for number in range(ROUNDS)}
    for _ in range(2 * ROUNDS):
        number, process, code, told = answers.get(timeout=60)
        rounds[number][code] = (process, told)
    for driver in drivers:
        driver.join(60)
    return rounds


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a folder", pytest.param("an object store", marks=pytest.mark.rare)])
def test_of_two_drivers_that_start_together_one_works_and_the_other_names_it(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    files = request.getfixturevalue("store") if kind == "an object store" else None
    storage = f"s3://{BUCKET}/two" if files else str(tmp_path)
    for number, ends in two_drivers(recipe, storage).items():
        assert ends.keys() == {0, 75}, (number, ends)
        winner, loser = ends[0][0], ends[75][1]
        assert f"is in use by process {winner} on {socket.gethostname()}. Wait, or end it" in loser
        if files:
            worked = files.glob(f"{BUCKET}/two/{number}/held/worked-*")
        else:
            worked = [str(file) for file in (tmp_path / str(number) / "held").glob("worked-*")]
        assert [file.rsplit("-", 1)[1] for file in worked] == [str(winner)]


@pytest.fixture
def folder(store: Any, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """Return a sweep's folder in the store; the store's clock counts in seconds, so a term has some."""
    monkeypatch.setattr(far_lease, "TERM_SECONDS", 3.0)
    return machine("a") / "mine"


@pytest.mark.slow
def test_a_lease_that_was_released_is_taken_at_once_and_one_that_is_held_names_its_holder(folder: Path) -> None:
    for _ in range(3):
        with hold(folder):
            time.sleep(4.0 if _ == 2 else 0.0)  # longer than the term: it is renewed
            with pytest.raises(HeldError, match=f"in use by process {os.getpid()} on"), hold(folder):
                pass


@pytest.mark.slow
def test_the_lease_of_a_killed_driver_is_taken_when_its_term_is_over_by_the_stores_clock(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = (
        "import os, time; from pathlib import Path; from orchestrator.store.lease import hold\n"
        f"with hold(Path({str(folder)!r})): print(os.getpid(), flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    process.kill()
    process.wait()
    process.stdout.close()
    monkeypatch.setattr(time, "time", lambda: 2e9)  # the clock of this machine is wrong by years
    with pytest.raises(HeldError, match=f"in use by process {name} on"), hold(folder):
        pass
    end = time.monotonic() + 20
    while True:
        try:
            with hold(folder):
                break
        except HeldError:
            assert time.monotonic() < end
            time.sleep(0.5)


@pytest.mark.slow
def test_a_driver_whose_lease_was_taken_meanwhile_ends_with_75_and_the_other_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was suspended for longer than the term."""

    def work() -> None:
        with hold(folder):
            objects.create(folder / ".lease" / "00000002", b'{"holder": "somebody"}')
            time.sleep(20)

    start = time.monotonic()
    with pytest.raises(HeldError, match=r"the lease was taken by somebody\. The same command goes on later") as error:
        work()
    assert time.monotonic() - start < 10
    assert error.value.exit_code == 75
    with pytest.raises(HeldError, match="in use by somebody"), hold(folder):
        pass


@pytest.mark.slow
def test_a_store_that_is_away_for_longer_than_the_term_does_not_end_its_driver(
    folder: Path,
    server: Any,  # noqa: F811
) -> None:
    with hold(folder):
        server.away.set()
        time.sleep(4)
        server.away.clear()
        write_bytes(folder / "sweep.json", b"{}")
        time.sleep(1)
        with pytest.raises(HeldError), hold(folder):
            pass
