"""Run every bench, each in a process of its own; write their rows, a page of tables and a picture."""

import argparse
import datetime
import importlib
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks.measuring import machine, rows, tables
from benchmarks.measuring.measure import Result
from benchmarks.measuring.picture import draw
from benchmarks.measuring.rows import Measured

BENCHES = {
    "a": ("step_time", "Step time against PEFT"),
    "b": ("sweeps", "A sweep against other ways to run it"),
    "c": ("scoring", "Scoring against lm-eval"),
    "d": ("memory", "Peak memory of runs"),
    "e": ("control_plane", "Control plane"),
    "f": ("growth", "Growth with lanes and runs"),
}
TITLES = {name: f"({letter}) {title}" for letter, (name, title) in BENCHES.items()}
FAILED = 1


def main() -> int:
    """Run the benches that the arguments name, one worker process per bench; a worker measures its one bench."""
    options = _options()
    if options.worker:
        return _work(options.worker, options.quick, options.out, options.run)
    console = Console(highlight=False)
    run = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    file = options.out / "results.jsonl"
    failed = [letter for letter in options.only if not _start(letter, options, run, console)]
    order = [name for name, _ in BENCHES.values()]
    measured = rows.latest(file.read_text().splitlines(), order)
    page = tables.page(measured, TITLES, machine.describe(), run[:10])
    (options.out / "benchmarks.md").write_text(page)
    draw(measured, TITLES, options.out / "benchmarks.png")
    fresh = [one for one in measured if one.bench in {BENCHES[letter][0] for letter in options.only}]
    console.print(tables.summary([result for one in fresh for result in one.results]), markup=False, soft_wrap=True)
    console.print(f"{options.out}/benchmarks.md and benchmarks.png", soft_wrap=True)
    for letter in failed:
        console.print(f"[red]{BENCHES[letter][0]} failed[/red]")
    return FAILED if failed else 0


def _start(letter: str, options: argparse.Namespace, run: str, console: Console) -> bool:
    """Run one bench in a fresh process and return whether it succeeded; if the process wrote no row, write one."""
    name, title = BENCHES[letter]
    console.rule(f"({letter}) {title}")
    command = [sys.executable, "-m", "benchmarks", "--worker", name, "--out", str(options.out), "--run", run]
    file = options.out / "results.jsonl"
    before = file.stat().st_size if file.exists() else 0
    started = time.monotonic()
    code = subprocess.run(
        command + ["--quick"] * options.quick,
        cwd=Path(__file__).resolve().parents[1],
        env=machine.quiet_environment(),
        check=False,
    ).returncode
    if (file.stat().st_size if file.exists() else 0) == before:
        seconds = time.monotonic() - started
        rows.append(file, run, Measured(name, options.quick, seconds, error=f"its process ended with exit code {code}"))
    return code == 0


def _work(name: str, quick: bool, out: Path, run: str) -> int:
    console = Console(highlight=False)
    started = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - started:6.1f} s[/dim]", end=" ")
        console.print(text, markup=False, soft_wrap=True)

    try:
        results = _measure_of(name)(quick, say)
    except Exception as error:  # the other benches still run; the row and the traceback show the error
        traceback.print_exc()
        words = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        rows.append(out / "results.jsonl", run, Measured(name, quick, time.monotonic() - started, error=words))
        return FAILED
    measured = Measured(name, quick, time.monotonic() - started, tuple(results))
    rows.append(out / "results.jsonl", run, measured)
    return 0


def _measure_of(name: str) -> Callable[[bool, Callable[[str], None]], list[Result]]:
    measure: Callable[[bool, Callable[[str], None]], list[Result]]
    measure = importlib.import_module(f"benchmarks.{name}").measure
    return measure


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds and small cases: minutes, not an hour")
    parser.add_argument("--only", type=_letters, default=list(BENCHES), help="some of " + ",".join(BENCHES))
    parser.add_argument("--out", type=_folder, default=_folder("bench-results"), help="where the results go")
    parser.add_argument("--worker", choices=[name for name, _ in BENCHES.values()], help=argparse.SUPPRESS)
    parser.add_argument("--run", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def _letters(text: str) -> list[str]:
    asked = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in asked if word not in BENCHES]
    if unknown or not asked:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'}: choose from {','.join(BENCHES)}")
    return asked


def _folder(text: str) -> Path:
    return Path(os.path.abspath(text))


if __name__ == "__main__":
    sys.exit(main())
