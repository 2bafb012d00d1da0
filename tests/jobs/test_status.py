"""`status` says what is done, at work, failed and left; it changes nothing and loads nothing heavy."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import jobs.gc
import jobs.plan
import jobs.status
from jobs.command import run_job
from orchestrator.files import write_bytes, write_lines
from orchestrator.store.lease import hold, holder
from tests.helpers.folders import STEPS, Made
from tests.helpers.places import ROOT
from tests.helpers.stores import server, store  # noqa: F401 - fixtures

HEAVY = ("torch", "ray", "transformers", "datasets", "deepspeed", "mlflow", "scipy", "optuna", "s3fs", "numpy")
Output = pytest.CaptureFixture[str]


def status(capsys: Output, made: Made, *words: str, code: int = 0) -> str:
    assert run_job("status", "", jobs.status.main, [*made.words, *words], jobs.status.add_options) == code
    output = capsys.readouterr()
    return " ".join((output.out + output.err).split())


def data(capsys: Output, made: Made, *words: str) -> dict[str, Any]:
    content = json.loads(status(capsys, made, *words, "--json"))
    assert isinstance(content, dict)
    return content


def listing(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.lstat().st_mtime_ns for path in folder.rglob("*")}


def some_of_everything(made: Made) -> None:
    """Make a sweep of 12 runs: 2 committed, 1 diverged, 1 failed, 1 broken off with a checkpoint, 7 not begun."""
    made.begin()
    made.commit(0)
    made.commit(7)
    made.diverge(1)
    made.attempt(2)
    write_bytes(made.folder.run(made.runs[2].key).error, b"\nOut of memory on gpu-3\nTraceback ...\n")
    made.checkpoint(made.attempt(3, 17), 16)


def test_every_run_is_counted_once_with_its_task_and_method(made: Made, capsys: Output) -> None:
    some_of_everything(made)
    before = listing(made.folder.path)
    content = data(capsys, made)
    counts = {"committed": 2, "diverged": 1, "stopped": 0, "dropped": 0, "failed": 1, "at_work": 0, "left": 8}
    assert {name: content[name] for name in counts} == counts
    assert content["runs"] == 12
    assert [(cell["task"], cell["method"], cell["runs"]) for cell in content["cells"]] == [
        (task, method, 3) for task in ("tiny_recall", "tiny_above") for method in ("lora", "dora")
    ]
    assert [cell["committed"] for cell in content["cells"]] == [1, 0, 1, 0]
    assert content["started"]
    assert content["driver"] is None
    assert listing(made.folder.path) == before
    said = status(capsys, made)
    assert "all 12 2 1 1 8" in said
    assert f"No driver is at work; 9 runs to train: python jobs/sweep.py {made.path}" in said


def test_a_failure_is_told_by_the_first_line_of_its_reason_and_its_file(made: Made, capsys: Output) -> None:
    some_of_everything(made)
    file = str(made.folder.run(made.runs[2].key).error)
    (failed,) = data(capsys, made)["runs_failed"]
    assert (failed["reason"], failed["file"], failed["seed"]) == ("Out of memory on gpu-3", file, 2)
    assert f"{made.runs[2].key}): Out of memory on gpu-3 (all of it: {file})" in status(capsys, made)


def test_while_a_driver_holds_the_lease_its_runs_show_step_and_age_and_older_attempts_do_not(
    made: Made, capsys: Output
) -> None:
    some_of_everything(made)
    then = time.time() - 3600
    for path in made.folder.runs.rglob("*"):
        os.utime(path, (then, then), follow_symlinks=False)
    with hold(made.folder.path):
        made.attempt(2, 5)  # the failed run once more
        made.attempt(4, 25)
        content, said = data(capsys, made), status(capsys, made)
    assert content["driver"] == holder()
    shown = [(run["run_key"], run["step"], run["steps"], run["attempt"]) for run in content["runs_at_work"]]
    assert shown == [(made.runs[2].key, 5, STEPS, 2), (made.runs[4].key, 25, STEPS, 1)]
    assert all(0 <= run["seconds"] < 60 for run in content["runs_at_work"])
    assert (content["failed"], content["left"]) == (0, 7)
    assert f"{holder()} works on this sweep: 2 runs at work, 7 left" in said
    assert "step 5 of 40, " in said
    assert data(capsys, made)["at_work"] == 0  # the driver has gone, and its name with it


def test_a_driver_that_starts_while_somebody_looks_gets_the_lease(made: Made, capsys: Output) -> None:
    made.folder.path.mkdir(parents=True)
    lease = made.folder.path / ".lease"
    lease.touch()
    with lease.open() as looked:
        fcntl.flock(looked, fcntl.LOCK_SH)
        threading.Timer(0.2, looked.close).start()
        with hold(made.folder.path):
            assert holder() in status(capsys, made)


def test_a_sweep_that_never_started_is_told_so(made: Made, capsys: Output) -> None:
    said = status(capsys, made)
    assert f"This sweep has never started: there is nothing in {made.folder.path}." in said
    assert "12 runs to train" in said
    assert not made.folder.path.exists()
    with hold(made.folder.path):
        assert "The driver prepares" in status(capsys, made)


def test_a_folder_of_another_recipe_is_told_with_the_keys_that_differ(made: Made, capsys: Output) -> None:
    some_of_everything(made)
    said = status(capsys, made, "data.train_samples=7")
    assert "The folder holds the sweep of another recipe" in said
    assert "data: train_samples is 7 in the recipe and was 5000" in said
    assert "The folder also holds 5 runs of other recipes" in said
    assert data(capsys, made, "data.train_samples=7")["left"] == 12
    said = status(capsys, made, "seeds=[0,1]")
    assert "another recipe" not in said
    assert "The folder also holds 1 run of other recipes" in said
    said = status(capsys, made, "tasks=[tiny_recall,tiny_older]")
    assert "task tiny_older is new in the recipe" in said


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"recipe": {}, "base": 7, "data": {}, "runs": []}'])
def test_a_damaged_folder_is_told_with_the_remedy(made: Made, capsys: Output, content: bytes) -> None:
    some_of_everything(made)
    made.folder.sweep.write_bytes(content)
    said = status(capsys, made, code=2)
    assert f"{made.folder.sweep} is damaged" in said
    assert "The sweep's command writes it anew" in said
    made.begin()  # as the sweep's command does
    assert data(capsys, made)["committed"] == 2


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("recipe", "model"), [1]),
        (("recipe", "data"), "x"),
        (("recipe", "tasks"), {"a": 1}),
        (("recipe", "tasks"), ["tiny_recall"]),
        (("recipe", "methods"), [3]),
        (("data", "tiny_recall"), [1]),
        (("data", "tiny_recall", "fingerprint"), 7),
        (("runs",), [{"a": 1}]),
    ],
)
def test_a_part_of_another_form_is_a_damage_to_every_job_that_looks(
    made: Made, capsys: Output, place: tuple[str, ...], value: object
) -> None:
    some_of_everything(made)
    content = json.loads(made.folder.sweep.read_text())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    made.folder.sweep.write_text(json.dumps(content))
    assert f"{made.folder.sweep} is damaged" in status(capsys, made, code=2)
    assert run_job("gc", "", jobs.gc.main, [*made.words, "--delete"], jobs.gc.add_options) == 2
    assert run_job("plan", "", jobs.plan.main, made.words, jobs.plan.add_options) == 0


def test_a_file_in_the_place_of_the_folder_is_told(made: Made, capsys: Output) -> None:
    write_bytes(made.folder.path, b"")
    assert "is a file, and has to be the sweep's folder" in status(capsys, made, code=2)
    made.folder.path.rename(made.folder.path.with_name("moved"))
    assert "never started" in status(capsys, made)


def test_runs_that_the_search_did_not_ask_for_are_dropped_not_left(made: Made, capsys: Output) -> None:
    some_of_everything(made)
    write_lines(made.folder.results, [made.row(5, status="dropped"), made.row(0)])
    content = data(capsys, made)
    assert (content["dropped"], content["left"], content["committed"]) == (1, 7, 2)


def test_a_sweep_in_an_object_store_is_shown_from_there(tmp_path: Path, capsys: Output, store: Any) -> None:  # noqa: F811
    made = Made(tmp_path, "s3://sweeps/all")
    assert "there is nothing in s3://sweeps/all/made" in status(capsys, made)
    some_of_everything(made)
    with hold(made.folder.path):
        content = data(capsys, made)
    assert (content["committed"], content["diverged"], content["at_work"], content["failed"]) == (2, 1, 1, 1)
    assert content["driver"] == holder()
    assert [(run["step"], run["run_key"]) for run in content["runs_at_work"]] == [(16, made.runs[3].key)]
    assert content["runs_failed"][0]["file"].startswith("s3://sweeps/all/made/runs/")
    assert data(capsys, made)["driver"] is None


def test_a_status_loads_nothing_heavy(made: Made) -> None:
    some_of_everything(made)
    program = (
        "import sys; from jobs.command import run_job; import jobs.status as job;"
        f"code = run_job('status', '', job.main, {made.words!r}, job.add_options);"
        f"print([name for name in {HEAVY} if name in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
