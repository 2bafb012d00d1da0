"""How far a sweep is: a bar in a terminal, a plain line now and then in a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from orchestrator.say import say
from orchestrator.store.sweep_folder import SweepFolder

POLL_SECONDS = 1.0
PAUSE = 20.0  # times what a look has cost is waited before the next: at most 5 % of a processor, however many runs
LINE_SECONDS = 10.0


@dataclass(frozen=True)
class Count:
    """Runs by state, and steps done of those planned for runs that are not ended when the sweep starts."""

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


def count(folder: Path, steps: Mapping[str, int], missing: frozenset[str], most: int | None = None) -> Count:
    """Return the state of the runs in ``steps`` (run key -> planned steps); ``missing`` were not ended at the start.

    ``most`` is how many of them will end, where a search leaves some out.
    """
    sweep = SweepFolder(folder)
    there = {path.name for path in sweep.runs.iterdir()} if sweep.runs.exists() else set()
    ended = {key: sweep.run(key).ended() if key in there else None for key in steps}
    logged = {key: 0 if ended[key] or key not in there else sweep.run(key).logged() for key in missing}
    ends = sum(end is not None for end in ended.values())  # more than a search asks for, where a grid was there before
    return Count(
        done=sum(end == "committed" for end in ended.values()),
        running=sum(not ended[key] and logged[key] > 0 for key in missing),
        failed=sum(end == "diverged" for end in ended.values()),
        runs=len(steps) if most is None else max(most, ends),
        steps=sum(steps[key] if ended[key] else min(logged[key], steps[key]) for key in missing),
        planned_steps=sum(steps[key] for key in missing),
        stopped=sum(end == "stopped" for end in ended.values()),
    )


@contextmanager
def watched(
    folder: Path,
    steps: Mapping[str, int],
    missing: frozenset[str],
    console: Console,
    on_poll: Callable[[], None],
    most: int | None = None,
) -> Iterator[None]:
    """Within: show progress and call ``on_poll`` about every second, from a thread of its own; see `count`."""
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(folder, steps, missing, console, on_poll, stop, most), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch(
    folder: Path,
    steps: Mapping[str, int],
    missing: frozenset[str],
    console: Console,
    on_poll: Callable[[], None],
    stop: threading.Event,
    most: int | None,
) -> None:
    bar = Progress(BarColumn(), TextColumn("{task.description}"), console=console, transient=True)
    task = bar.add_task("starting trainers", total=max(1, sum(steps[key] for key in missing)))
    start, first, spoken, said, wait = time.monotonic(), 0.0, 0.0, "", POLL_SECONDS
    with bar if console.is_terminal else _silence():
        while not stop.wait(wait):
            now, state = time.monotonic(), count(folder, steps, missing, most)
            first = first or (now if state.steps else 0.0)
            text = state.text(now - first) if state.steps else _before_steps(folder, missing, now - start)
            bar.update(task, completed=state.steps, description=text)
            if not console.is_terminal and text != said and now - spoken >= LINE_SECONDS:
                say(console, text)
                spoken, said = now, text
            on_poll()
            wait = max(POLL_SECONDS, PAUSE * (time.monotonic() - now))


def _before_steps(folder: Path, missing: frozenset[str], seconds: float) -> str:
    """Return what is going on before the first step: trainers start, then load the model and score the base."""
    loaded = any(SweepFolder(folder).run(key).attempted() for key in missing)
    return f"{'scoring the base' if loaded else 'starting trainers'}, {_clock(seconds)} so far"


@contextmanager
def _silence() -> Iterator[None]:
    yield


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
