"""How far a round of training is: a bar in a terminal, a plain line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from orchestrator.cluster.news import News
from orchestrator.driver.repeating import repeating
from orchestrator.say import lines_to, say

POLL_SECONDS = 1.0
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


@dataclass
class Watched:
    """The runs to watch: ``steps`` are the planned steps of all runs by run key, ``missing`` the keys of the round.

    ``before`` are the ends of runs that had ended when the round began, by run key. ``most`` is the largest number of
    runs that the search will train in the whole sweep; None if it trains all. ``news`` is where the cluster writes what
    it hears from trainers; no file is looked at.
    """

    steps: Mapping[str, int]
    missing: frozenset[str]
    before: Mapping[str, str]
    most: int | None = None
    news: News = field(default_factory=News)

    @property
    def planned_steps(self) -> int:
        """The steps of the runs that the round trains."""
        return sum(self.steps[key] for key in self.missing)

    def count(self) -> Count:
        """Count the runs by state (done, running, failed, stopped) and their steps."""
        steps, heard = self.steps, dict(self.news.steps)
        reported = {key: end.status for key, end in list(self.news.ends.items()) if key in self.missing}
        ended = {key: end for key, end in self.before.items() if key in steps} | reported
        made = {key: 0 if key in ended else min(heard.get(key, 0), steps[key]) for key in self.missing}
        ends = list(ended.values())  # more than ``most`` if a grid was trained here before
        return Count(
            done=ends.count("committed"),
            running=sum(count > 0 for count in made.values()),
            failed=ends.count("diverged"),
            runs=len(steps) if self.most is None else max(self.most, len(ends)),
            steps=sum(steps[key] if key in ended else made[key] for key in self.missing),
            planned_steps=self.planned_steps,
            stopped=ends.count("stopped"),
        )

    def before_steps(self, seconds: float) -> str:
        """Return the text to show before the first step, while trainers start, load the base and score it."""
        return f"{'scoring the base' if self.news.begun else 'starting trainers'}, {_clock(seconds)} so far"


@contextmanager
def show_progress(watched: Watched, console: Console) -> Iterator[None]:
    """Within: show progress about every second, in a thread of its own.

    An error of one look is said once, and the next look comes all the same.
    """
    bar = Progress(BarColumn(), TextColumn("{task.description}"), console=console, transient=True)
    lines = _Lines(watched, console, bar)
    with bar if console.is_terminal else nullcontext():
        try:
            with repeating("progress", lines.show, POLL_SECONDS, "showing progress", lines_to(console)) as thread:
                yield
        finally:
            thread.join(5.0)  # a terminal that takes no output must not hold the sweep


class _Lines:
    """The bar or the lines of one round."""

    def __init__(self, watched: Watched, console: Console, bar: Progress) -> None:
        self._watched, self._console, self._bar = watched, console, bar
        self._task: TaskID = bar.add_task("starting trainers", total=max(1, watched.planned_steps))
        self._start, self._first_step, self._last_line, self._printed = time.monotonic(), 0.0, 0.0, ""

    def show(self) -> None:
        """Show the state of this moment."""
        now = time.monotonic()
        state = self._watched.count()
        self._first_step = self._first_step or (now if state.steps else 0.0)
        text = state.text(now - self._first_step) if state.steps else self._watched.before_steps(now - self._start)
        self._bar.update(self._task, completed=state.steps, description=text)
        if not self._console.is_terminal and text != self._printed and now - self._last_line >= LINE_SECONDS:
            say(self._console, text)
            self._last_line, self._printed = now, text


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
