"""Of two drivers that start together on one storage exactly one works; the other ends with 75 and names the first."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.command import run_job
from orchestrator.store.lease import hold
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.store.trial import StorageTrial

ROUNDS = 20
RECIPE = "name: held\ntasks: [tiny_recall]\nmethods: [lora]\nseeds: [0]\n"
WORK_SECONDS = 0.3


def work(spec: Any, command: str, console: Any) -> int:
    folder = SweepFolder.of(spec).path
    with StorageTrial(folder.parent), hold(folder):
        (folder / f"worked-{time.time_ns()}").write_text(str(os.getpid()))
        time.sleep(WORK_SECONDS)
    return 0


def drive(recipe: Path, storage: Path, together: Any, answers: Any) -> None:
    """Be a driver in every round; answer with this process's exit code and what it has printed."""
    for number in range(ROUNDS):
        together.wait()
        told = io.StringIO()
        with contextlib.redirect_stderr(told):
            code = run_job("sweep", "test", work, [str(recipe), f"storage={storage / str(number)}"])
        answers.put((number, os.getpid(), code, " ".join(told.getvalue().split())))


def two_drivers(recipe: Path, storage: Path, one: Callable[..., None]) -> dict[int, dict[int, tuple[int, str]]]:
    """Start two drivers together in each round; return by round and exit code the process and what it has printed."""
    context = multiprocessing.get_context("spawn")
    together, answers = context.Barrier(2), context.Queue()
    drivers = [context.Process(target=one, args=(recipe, storage, together, answers)) for _ in range(2)]
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
def test_of_two_drivers_that_start_together_one_works_and_the_other_names_it(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    for number, ends in two_drivers(recipe, tmp_path, drive).items():
        assert ends.keys() == {0, 75}, (number, ends)
        winner, loser = ends[0][0], ends[75][1]
        assert f"is in use by process {winner} on {socket.gethostname()}. Wait, or end it." in loser
        worked = [*(tmp_path / str(number) / "held").glob("worked-*")]
        assert [file.read_text() for file in worked] == [str(winner)]
