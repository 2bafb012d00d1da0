"""What is printed can end nothing: characters, readers that go, closed streams, full disks; a real sweep among them."""

from __future__ import annotations

import errno
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import jobs.sweep
from jobs.command import run_job
from orchestrator.estimate.table import print_plan
from orchestrator.recipe.read import read_recipe
from orchestrator.say import Outlet, complain, say, terminal, unfailing
from tests.helpers.places import ROOT

JOB = """
import sys
from orchestrator.errors import InputError
from jobs.command import run_job
from orchestrator.say import say

def main(spec, command, console):
    for number in range(3000):
        say(console, f"line {number} größe \\udcff")
    print("a library's own word ü", file=sys.stderr)
    open("done", "w").write(spec.storage)
    if "fail" in command:
        raise InputError("falsch: größe")
    return 0

sys.exit(run_job("sweep", "test", main))
"""


def job(folder: Path, redirected: str, *words: str, **variables: str) -> tuple[int, str]:
    """Run a job that prints, with its streams redirected by a shell; return its exit code and what came to stderr."""
    (folder / "job.py").write_text(JOB)
    (folder / "r.yaml").write_text("name: mine\ntasks: [boolq]\nmethods: [lora]\nseeds: [0]\n")
    words = tuple(f"'{word}'" for word in words)
    line = f"({sys.executable} job.py r.yaml {' '.join(words)}; echo $? > code) {redirected}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""} | variables
    ended = subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, env=environment, timeout=60, check=False
    )
    return int((folder / "code").read_text()), ended.stderr.decode(errors="replace") + ended.stdout.decode(
        errors="replace"
    )[-2000:]


@pytest.mark.parametrize(
    ("redirected", "word", "wanted"),
    [
        ("| head -1", "storage=fine", 0),
        ("> /dev/full 2>&1", "storage=fail", 2),
        (">&-", "storage=fine", 0),
        ("<&- >&- 2>&-", "storage=fail", 2),
    ],
)
def test_a_job_whose_output_goes_nowhere_does_its_work_and_ends_as_it_should(
    redirected: str, word: str, wanted: int, tmp_path: Path
) -> None:
    code, told = job(tmp_path, redirected, word)
    assert code == wanted, told
    assert (tmp_path / "done").read_text() == word.removeprefix("storage=")  # and nothing printed into it
    assert not re.search("Traceback|Exception ignored|BrokenPipe|No space", told)


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_a_character_that_cannot_be_shown_is_an_escape(variables: dict[str, str], tmp_path: Path) -> None:
    code, told = job(tmp_path, "2> errors", "storage=größe", **variables)
    assert code == 0, (tmp_path / "errors").read_text(errors="replace")
    assert "\\udcff" in told
    assert (tmp_path / "done").read_bytes().decode() == "größe"


def test_a_python_that_takes_names_for_ascii_begins_again_in_utf8() -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code = "import sys, jobs.utf8 as u; u.begin_again_if_ascii(); print(sys.argv, sys.getfilesystemencoding())"
    environment = os.environ | ascii_only | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, "größe"]
    told = subprocess.run(command, capture_output=True, env=environment, timeout=60, check=True).stdout
    assert told.decode() == "['-c', 'größe'] utf-8\n"
    stubborn = [sys.executable, "-X", "utf8=0", "-c", code, "größe"]  # which nothing overrides: it must not loop
    told = subprocess.run(stubborn, capture_output=True, env=environment, timeout=60, check=True).stdout
    assert told.endswith(b"ascii\n")


def test_a_word_that_is_no_utf8_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "größe.yaml"
    recipe.write_text("name: mine\ntasks: [boolq]\nmethods: [lora]\nseeds: [0]\n")
    for words in (["data.mirror=a\udcff"], ["model.path=\udcc3"]):
        assert run_job("sweep", "test", jobs.sweep.main, [str(recipe), *words]) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"argument {words[0]!r} is not utf-8 text: ")
        assert told.count("\n") == 1
    assert run_job("sweep", "test", jobs.sweep.main, ["gr\udcf6\udcdfe.yaml"]) == 2
    assert "must be renamed" in capsys.readouterr().err


def test_a_working_folder_that_is_no_utf8_is_one_clear_error(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = recipe.parent / "gr\udcf6"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert run_job("sweep", "test", jobs.sweep.main, [str(recipe)]) == 2
    assert "has a name that is not UTF-8 text: rename it" in capsys.readouterr().err


class Failing(io.StringIO):
    """A stream whose writes fail."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number, self.tries = number, 0

    def write(self, text: str) -> int:
        self.tries += 1
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF])
def test_an_outlet_is_silent_after_the_first_error(number: int) -> None:
    outlet = Outlet(lost := Failing(number))
    for _ in range(3):
        assert outlet.write("größe") == 5
        outlet.flush()
    assert (lost.tries, outlet.lost and outlet.lost.errno) == (1, number)


def test_a_sweep_whose_output_is_lost_goes_on_to_its_champions(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Failing(errno.ENOSPC)
    monkeypatch.setattr(sys, "stdout", lost)
    monkeypatch.setattr(sys, "stderr", lost)
    words = ["tasks=[tiny_recall]", "methods=[lora]", "seeds=[0]", "tracking.uri=none"]
    assert run_job("sweep", "test", jobs.sweep.main, [str(recipe), *words]) == 0
    assert lost.tries == 1
    assert (recipe.parent / "sweeps/small/champions/tiny_recall/evaluation.json").exists()
    assert (sys.stdout, sys.stderr) == (lost, lost)  # as before


def test_a_slow_reader_of_a_pipe_that_does_not_wait_is_written_to_again() -> None:
    class Slow(io.StringIO):
        tries = 0

        def write(self, text: str) -> int:
            self.tries += 1
            if self.tries == 1:
                raise BlockingIOError(errno.EAGAIN, "full")
            return super().write(text)

    outlet = Outlet(slow := Slow())
    outlet.write("one ")
    outlet.write("two")
    assert (slow.getvalue(), outlet.lost) == ("two", None)


def test_a_line_is_printed_as_it_is_and_at_once() -> None:
    class Told(io.StringIO):
        flushed = ""

        def flush(self) -> None:
            self.flushed = self.getvalue()

    line = "a [red]path[/] with :smile: and [/] " + "x" * 300
    for console in (terminal(told := Told(), width=40), Console(file=told, width=40)):
        say(console, line)
        assert told.flushed == line + "\n"
        told.seek(0)
        told.truncate()


def test_a_plan_of_labels_that_look_like_markup_is_printed(tmp_path: Path) -> None:
    from orchestrator.estimate.estimate import estimate
    from orchestrator.estimate.model_shapes import shape_of

    recipe = tmp_path / "r.yaml"
    methods = '[{name: lora, label: "[/]"}, {name: dora, label: "[red]:x:"}]'
    recipe.write_text(f"name: mine\ntasks: [boolq]\nmethods: {methods}\nseeds: [0]\n")
    spec = read_recipe(recipe)
    print_plan(estimate(spec, *shape_of(spec.model), tflops=None, price=None), terminal(told := io.StringIO(), 200))
    assert "[/]" in told.getvalue()
    assert "[red]:x:" in told.getvalue()


def test_a_plan_that_could_not_be_printed_is_no_success_but_half_a_plan_is_enough_for_head(tmp_path: Path) -> None:
    command = f"{sys.executable} {ROOT / 'jobs' / 'plan.py'} {ROOT / 'recipes' / 'quickstart.yaml'} --json"
    told = subprocess.run(
        ["bash", "-c", f"{command} > /dev/full; echo $?"], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert (told.stdout, told.stderr) == ("1\n", "The plan could not be printed: [Errno 28] No space left on device\n")
    told = subprocess.run(
        ["bash", "-c", f"{command} | true; echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True, check=True
    )
    assert (told.stdout, told.stderr) == ("0\n", "")


def test_stderr_is_an_outlet_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Failing(errno.ENOSPC))
    monkeypatch.setattr(sys, "stdout", None)
    with unfailing():
        complain("x")
        say(terminal(), "y")
        assert sys.stderr.write("abc") == 3


def test_nothing_of_the_project_prints_but_through_say() -> None:
    files = {path for folder in ("orchestrator", "jobs") for path in (ROOT / folder).rglob("*.py")}
    doors = re.compile(r"(?<![\w.])print\(|sys\.std(out|err)\b|\bConsole\(|T201")
    printing = {path.relative_to(ROOT).as_posix() for path in files if doors.search(path.read_text())}
    assert printing == {"orchestrator/say.py"}
    rules = (ROOT / "pyproject.toml").read_text()
    assert '"T20"' in rules
    assert '"jobs/**"' not in rules
