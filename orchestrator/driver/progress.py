"""How far a round of training is: a bar in a terminal, a plain line now and then in a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from orchestrator.say import say
from orchestrator.store.sweep_folder import SweepFolder

POLL_SECONDS = 1.0
PAUSE = 20.0  # the pause between two counts, in durations of a count: counting takes at most 5 % of a processor
LINE_SECONDS = 10.0


@dataclass(frozen=True)
class Count:
    """The number of runs by state, and the done and planned steps of the runs that the round trains."""

    done: int
    running: int
    failed: int
    runs: int
    steps: int
    planned_steps: int
    stopped: int = 0

    def text(self, seconds: float) -> str:
        """Return the state in words; ``seconds`` have passed since the first step."""
        left = "? left"
        if self.running and self.steps >= self.planned_steps:
            left = "scoring"
        elif self.steps and seconds > 0:
            left = f"{_clock((self.planned_steps - self.steps) * seconds / self.steps)} left to train"
        stopped = f"{self.stopped} stopped, " if self.stopped else ""
        return f"{self.done}/{self.runs} runs done, {self.running} running, {stopped}{self.failed} failed, {left}"


@dataclass(frozen=True)
class Watched:
    """The runs to watch: ``steps`` are the planned steps of all runs by run key, ``missing`` the keys of the round.

    ``most`` is the largest number of runs that the search will train in the whole sweep; None if it trains all.
    """

    folder: SweepFolder
    steps: Mapping[str, int]
    missing: frozenset[str]
    most: int | None = None

    @property
    def planned_steps(self) -> int:
        """The steps of the runs that the round trains."""
        return sum(self.steps[key] for key in self.missing)

    def count(self) -> Count:
        """Count the runs by state (done, running, failed, stopped) and their steps, from the run folders."""
        folder, steps = self.folder, self.steps
        there = {path.name for path in folder.runs.iterdir()} if folder.runs.exists() else set()
        ended = {key: folder.run(key).ended() if key in there else None for key in steps}
        logged = {key: 0 if ended[key] or key not in there else folder.run(key).logged() for key in self.missing}
        ends = sum(end is not None for end in ended.values())  # more than ``most`` if a grid was trained here before
        return Count(
            done=sum(end == "committed" for end in ended.values()),
            running=sum(not ended[key] and logged[key] > 0 for key in self.missing),
            failed=sum(end == "diverged" for end in ended.values()),
            runs=len(steps) if self.most is None else max(self.most, ends),
            steps=sum(steps[key] if ended[key] else min(logged[key], steps[key]) for key in self.missing),
            planned_steps=self.planned_steps,
            stopped=sum(end == "stopped" for end in ended.values()),
        )

    def before_steps(self, seconds: float) -> str:
        """Return the text to show before the first step, while trainers start, load the base and score it."""
        loaded = any(self.folder.run(key).attempted() for key in self.missing)
        return f"{'scoring the base' if loaded else 'starting trainers'}, {_clock(seconds)} so far"


@contextmanager
def show_progress(watched: Watched, console: Console, on_poll: Callable[[], None]) -> Iterator[None]:
    """Within: show progress and call ``on_poll`` about every second, both in a thread of their own."""
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(watched, console, on_poll, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch(watched: Watched, console: Console, on_poll: Callable[[], None], stop: threading.Event) -> None:
    bar = Progress(BarColumn(), TextColumn("{task.description}"), console=console, transient=True)
    task = bar.add_task("starting trainers", total=max(1, watched.planned_steps))
    start, first_step, last_line, printed, wait = time.monotonic(), 0.0, 0.0, "", POLL_SECONDS
    with bar if console.is_terminal else nullcontext():
        while not stop.wait(wait):
            now, state = time.monotonic(), watched.count()
            first_step = first_step or (now if state.steps else 0.0)
            text = state.text(now - first_step) if state.steps else watched.before_steps(now - start)
            bar.update(task, completed=state.steps, description=text)
            if not console.is_terminal and text != printed and now - last_line >= LINE_SECONDS:
                say(console, text)
                last_line, printed = now, text
            on_poll()
            wait = max(POLL_SECONDS, PAUSE * (time.monotonic() - now))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
