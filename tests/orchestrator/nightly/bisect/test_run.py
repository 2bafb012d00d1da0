"""A bisection trains what it has to, remembers it, and names the first bad candidate with its author."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.errors import HeldError, InputError
from orchestrator.files import write_json
from orchestrator.nightly.bisect import run, trying
from orchestrator.nightly.bisect.asked import Asked
from orchestrator.nightly.bisect.candidates import Candidate
from orchestrator.nightly.bisect.run import bisect
from orchestrator.recipe.read import read_recipe
from orchestrator.store.lease import hold
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.verdict.oracle import Tried, TriedRun
from tests.helpers.places import ROOT
from tests.helpers.repository import begin, commit, git

CELL = "tiny_above/lora"


def asked_for(recipe: Path, asked: Asked, code: Path) -> tuple[int, str]:
    output = io.StringIO()
    console = Console(file=output, width=400)
    return bisect(read_recipe(recipe, ()), "python jobs/nightly.py small.yaml", asked, console, code), output.getvalue()


class World:
    """Commits of which one is the first bad one; counts how often each is trained."""

    def __init__(self, folder: Path, number: int, first_bad: int, broken: set[int]) -> None:
        self.code, self.trained = begin(folder), list[int]()
        self.shas = [commit(self.code, f"change {index}", {"x": str(index)}) for index in range(number)]
        self._first_bad, self._broken = first_bad, broken
        self.stops_after = 10**6

    def train(self, candidate: Candidate, *_: object) -> str:
        if len(self.trained) == self.stops_after:
            raise KeyboardInterrupt
        index = self.shas.index(str(candidate.commit))
        self.trained.append(index)
        return "it ended with 2: Unknown key" if index in self._broken else ""

    def results(self, sweep: SweepFolder, seeds: list[int], *_: object) -> Tried:
        index = self.trained[-1]
        if index in self._broken:
            return Tried((), "no row")
        right = "1" * 18 + "0" * 2 if index < self._first_bad else "1" * 8 + "0" * 12
        # every commit moves the bits, so the bytes alone decide nothing
        return Tried(tuple(TriedRun(seed, "committed", f"{index}-{seed}", right) for seed in seeds))

    def put(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(run, "train", self.train)
        monkeypatch.setattr(run, "results", self.results)


def test_the_first_bad_commit_is_named_with_its_author_and_nothing_is_trained_twice(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path / "code", 12, 7, {5})
    world.put(monkeypatch)
    asked = Asked(f"{world.shas[0]}..{world.shas[-1]}", cell=CELL)
    world.stops_after = 3
    with pytest.raises(KeyboardInterrupt):
        asked_for(recipe, asked, world.code)
    world.stops_after = 10**6
    code, told = asked_for(recipe, asked, world.code)
    assert code == 0, told
    line = told.strip().splitlines()[-1]
    assert line == f"first bad for {CELL}: {world.shas[7][:12]} (A. Author, 2026-11-28: change 7)"
    assert len(world.trained) == len(set(world.trained)) <= 8
    assert "the bad end is worse: \u221250.00 points" in told
    assert "tries left" in told
    (file,) = (tmp_path / "sweeps" / "small" / "nights").glob("bisect-*/bisect.json")
    content = json.loads(file.read_text())
    assert content["first_bad"]["commit"] == world.shas[7]
    assert content["suspects"] == [world.shas[7][:12]]
    marks = {row["label"]: row["mark"] for row in content["candidates"]}
    assert marks[world.shas[0][:12]] == "good"
    assert marks[world.shas[11][:12]] == "bad"
    before = list(world.trained)
    assert asked_for(recipe, asked, world.code)[0] == 0
    assert world.trained == before


def test_skipped_commits_leave_a_range_and_a_remedy(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path / "code", 6, 3, {2, 3})
    world.put(monkeypatch)
    asked = Asked(f"{world.shas[0]}..{world.shas[-1]}", cell=CELL)
    code, told = asked_for(recipe, asked, world.code)
    assert code == 1
    assert "not found: 2 candidates between the last good and the first bad were skipped." in told
    assert told.count("  one of: ") == 3
    assert "skipped: it ended with 2: Unknown key" in told
    (remedy,) = [line for line in told.splitlines() if "first: rm " in line]
    for file in remedy.partition("rm ")[2].split():
        Path(file).unlink()
    world._broken = set()
    code, told = asked_for(recipe, asked, world.code)
    assert code == 0
    assert "change 3" in told.splitlines()[-1]


def test_two_ends_of_the_same_bytes_are_said_to_be_so(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path / "code", 4, 2, set())
    world.put(monkeypatch)
    same = Tried((TriedRun(0, "committed", "x", "1"), TriedRun(1, "committed", "y", "1")))
    monkeypatch.setattr(run, "results", lambda *_: same)
    code, told = asked_for(recipe, Asked(f"{world.shas[0]}..{world.shas[-1]}", cell=CELL), world.code)
    assert code == 1
    assert "both ends have the same bytes" in told
    assert "not found: the bad end is not bad" in told
    assert len(world.trained) == 2


def test_settings_are_trained_once_as_lanes_of_one_pack(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []

    def train(candidate: Candidate, bench: trying.Bench, _: float) -> str:
        trained.append(candidate.key)
        content = json.loads(bench.recipe.read_text())
        assert [method["label"] for method in content["methods"]] == [f"s{number}" for number in range(5)]
        return ""

    def results(sweep: SweepFolder, seeds: list[int], method: str, *_: object) -> Tried:
        assert sweep.path.name == "s0"
        right = "1" * 20 if method in ("s0", "s1") else "0" * 20
        return Tried(tuple(TriedRun(seed, "committed", f"{method}-{seed}", right) for seed in seeds))

    monkeypatch.setattr(run, "train", train)
    monkeypatch.setattr(run, "results", results)
    settings = tuple({"alpha": float(alpha)} for alpha in (1, 2, 4, 8, 16))
    code, told = asked_for(recipe, Asked(settings=settings, cell=CELL), tmp_path)
    assert code == 0
    assert told.splitlines()[-1] == f'first bad for {CELL}: {{"alpha": 4.0}}'
    assert trained == ["s0"]


def test_a_second_bisection_of_the_same_is_held_off_and_the_cell_comes_from_the_newest_bad_night(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path / "code", 4, 2, set())
    world.put(monkeypatch)
    asked = Asked(f"{world.shas[0]}..{world.shas[-1]}")
    with pytest.raises(InputError, match="No night has named a culprit: give the cell"):
        asked_for(recipe, asked, world.code)
    nights = tmp_path / "sweeps" / "small" / "nights"
    write_json(nights / "2026-11-26" / "night.json", {"culprit": {"task": "tiny_recall", "method": "d2lora"}})
    write_json(nights / "2026-11-27" / "night.json", {"culprit": {"task": "tiny_above", "method": "lora"}})
    write_json(nights / "2026-11-28" / "night.json", {"culprit": None})
    code, told = asked_for(recipe, asked, world.code)
    assert code == 0
    assert f"bisect: {CELL}, 4 candidates" in told
    (folder,) = nights.glob("bisect-*")
    with hold(folder), pytest.raises(HeldError, match="in use by process"):
        asked_for(recipe, asked, world.code)


def test_a_process_that_hangs_is_ended_after_its_limit_and_one_that_is_held_is_no_skip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = trying.Bench(tmp_path / "bench", tmp_path / "recipe.yaml", tmp_path / "code")
    script = tmp_path / "code" / "jobs" / "sweep.py"
    script.parent.mkdir(parents=True)
    script.write_text("import time\ntime.sleep(60)\n")
    candidate = Candidate("p-1", "one", "")
    begin_ = time.monotonic()
    assert trying.train(candidate, bench, 0.5) == f"it took longer than 0 s ({bench.log(candidate)})"
    assert time.monotonic() - begin_ < 30
    script.write_text("import sys\nprint('first')\nprint('the reason')\nsys.exit(3)\n")
    assert trying.train(candidate, bench, 60.0) == f"it ended with 3: the reason ({bench.log(candidate)})"
    script.write_text("import sys\nprint('in use by process 7')\nsys.exit(75)\n")
    monkeypatch.setattr(trying, "HELD_SECONDS", 0.0)
    with pytest.raises(HeldError, match="in use by process 7"):
        trying.train(candidate, bench, 60.0)
    script.unlink()
    assert trying.train(candidate, bench, 60.0) == "it has no jobs/sweep.py"


PLANTED = "orchestrator/train/answer_loss.py"
ASK = """
import sys
from pathlib import Path
from rich.console import Console
from orchestrator.nightly.bisect.asked import Asked
from orchestrator.nightly.bisect.run import bisect
from orchestrator.recipe.read import read_recipe
recipe, named, code = sys.argv[1:]
asked = Asked(named, cell="tiny_above/lora")
sys.exit(bisect(read_recipe(Path(recipe), ()), "a test", asked, Console(width=400), Path(code)))
"""


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """This project in eight commits: the fourth cannot be started, and the sixth has a bug in the loss."""
    code = begin(tmp_path_factory.mktemp("history") / "project")
    for part in ("d2lora", "orchestrator", "jobs"):
        shutil.copytree(ROOT / part, code / part, ignore=shutil.ignore_patterns("__pycache__"))
    loss = (ROOT / PLANTED).read_text()
    shas = [commit(code, "as it is", {"README": "0"})]
    shas += [commit(code, f"harmless {number}", {"README": str(number)}) for number in (1, 2)]
    shas.append(commit(code, "cannot be started", {"jobs/sweep.py": "raise SystemExit('broken')\n"}))
    shas.append(commit(code, "can be started again", {"jobs/sweep.py": (ROOT / "jobs/sweep.py").read_text()}))
    shas.append(commit(code, "a bug in the loss", {PLANTED: planted(loss)}))
    shas += [commit(code, f"harmless {number}", {"README": str(number)}) for number in (6, 7)]
    return code, shas


def planted(loss: str) -> str:
    """Return the sources of the loss with a bug: the right answer is made less likely."""
    bug = loss.replace("-slope_A[:, None])", "slope_A[:, None])")
    assert bug != loss
    return bug


@pytest.mark.slow
@pytest.mark.rare
@pytest.mark.timeout(1800)  # eight starts of a sweep, on a machine that may do other things
def test_a_bug_planted_in_this_project_is_found_among_eight_commits_though_the_bisection_is_killed(
    recipe: Path, history: tuple[Path, list[str]]
) -> None:
    code, shas = history
    words = [sys.executable, "-c", ASK, str(recipe), f"{shas[0]}..{shas[-1]}", str(code)]
    folder = recipe.parent / "sweeps" / "small" / "nights"
    first = subprocess.Popen(words, cwd=ROOT, start_new_session=True)
    end = time.monotonic() + 300
    while not list(folder.glob("bisect-*/c-*/runs/*")):  # a candidate trains
        assert first.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().splitlines()[-1].endswith("(A. Author, 2026-11-28: a bug in the loss)"), done.stdout
    (place,) = folder.glob("bisect-*")
    assert [*(place / "trees").glob("*")] == []
    assert git(code, "worktree", "list").count("\n") == 0
    assert git(code, "status", "--porcelain") == ""
