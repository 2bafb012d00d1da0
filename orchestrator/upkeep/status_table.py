"""The status of a sweep as a table for people, with its runs at work, its failures, and what to do next."""

from __future__ import annotations

from collections import Counter

from rich import box
from rich.console import Console
from rich.table import Table

from orchestrator.say import say
from orchestrator.upkeep.look import AtWork, Failed, Status
from orchestrator.upkeep.status import STATES
from orchestrator.wording import count, rate

MOST = 20  # lines of runs at work, and of failures; --json has all
ALWAYS = ("committed", "left")  # other states have a column if a run is in them


def print_status(status: Status, command: str, console: Console) -> None:
    """Print the status; ``command`` is the command of the sweep, which goes on with what is left."""
    say(console, f"{status.name}: {status.folder}")
    console.print(_table(status))
    _some(console, [_working(run) for run in status.at_work])
    _some(console, [_failing(run) for run in status.failed])
    for remark in status.remarks:
        say(console, f"- {remark}")
    say(console, _last_line(status, command))


def _table(status: Status) -> Table:
    total = status.total
    states = [state for state in STATES if state in ALWAYS or total[state]]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=len(status.cells) > 1)
    table.add_column("task and method", "all", overflow="fold")
    for state in ("runs", *states):
        number = f"{total.total():,}" if state == "runs" else _number(total, state)
        table.add_column(state, number, justify="right", no_wrap=True)
    for (task, method), counts in status.cells.items():
        table.add_row(f"{task} {method}", f"{counts.total():,}", *(_number(counts, state) for state in states))
    return table


def _number(counts: Counter[str], state: str) -> str:
    return f"{counts[state]:,}" if counts[state] else "-"


def _some(console: Console, lines: list[str]) -> None:
    for line in lines[:MOST]:
        say(console, line)
    if len(lines) > MOST:
        say(console, f"... and {len(lines) - MOST:,} more: --json has all")


def _name(run: AtWork | Failed) -> str:
    return f"{run.task} {run.method} lr {rate(run.lr)} seed {run.seed} ({run.run_key})"


def _working(run: AtWork) -> str:
    again = f", attempt {run.attempt}" if run.attempt > 1 else ""
    return f"at work: {_name(run)}: step {run.step:,} of {run.steps:,}, {_ago(run.seconds)}{again}"


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"


def _failing(run: Failed) -> str:
    return f"failed: {_name(run)}: {run.reason} (all of it: {run.file})"


def _last_line(status: Status, command: str) -> str:
    total = status.total
    left = total["left"] + total["failed"] + total["at work"]
    if status.driver:
        return f"{status.driver} works on this sweep: {count(total['at work'], 'run')} at work, {total['left']:,} left"
    if not left:
        return "All runs have ended, and no driver is at work."
    return f"No driver is at work; {count(left, 'run')} to train: {command}"
