"""Run packs in this process, one after another: for tests, debugging and a laptop."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.cluster.cluster import Failures, Job, Train, sizes_of
from orchestrator.cluster.hub.breaker import Breaker
from orchestrator.cluster.news import News
from orchestrator.cluster.signals import Signals, stopped_by_signals
from orchestrator.control import RunEnd
from orchestrator.errors import StoppedError
from orchestrator.machine.device import device_of


class LocalCluster:
    """This process as a cluster of one worker. It uses a GPU if the recipe gives each worker one.

    Nobody watches a process that watches itself: a pack that hangs here hangs the job. Ctrl-C and SIGTERM let the
    pack at work save its runs (`signals`), and then end the job.
    """

    concurrent = 1

    def __init__(self, gpus_per_worker: float = 0) -> None:
        """Raise InputError if the recipe asks for a GPU that is not there."""
        self.device = device_of(gpus_per_worker)
        self.news = News()
        self.news.trainers = 1

    def run_packs(self, jobs: Sequence[Job], train: Train) -> Failures:
        """Train pack after pack. The base that ``train`` keeps is freed with ``train``, after the last pack.

        KeyboardInterrupt if a signal came and the pack at work has saved its runs. After several packs that failed
        alike the others are not tried (`Breaker`).
        """
        failures: Failures = {}
        breaker, why = Breaker(), None
        self.news.begin(sizes_of(jobs))
        for job in jobs:
            if why is not None:
                failures[job.pack.name] = why
                continue
            with stopped_by_signals() as signals:
                control = _Control(self.news, signals)
                try:
                    self.news.begun = True
                    train(job, self.device, control)
                    breaker.went_well()
                except StoppedError:
                    failures[job.pack.name] = traceback.format_exc()  # no signal: then somebody else has stopped it
                except Exception:  # of any kind: the other packs go on, and the sweep reports the error
                    failures[job.pack.name] = traceback.format_exc()
                    why = breaker.failed(failures[job.pack.name], control.steps)
        return failures

    def call(self, function: Callable[[Path], Any], argument: Path) -> Any:
        """Call the function in this process."""
        return function(argument)

    def on_other_nodes(self, function: Callable[[Path], Any], argument: Path) -> list[Any]:  # noqa: ARG002
        """Return nothing: there is no other node."""
        return []

    def close(self) -> None:
        """Do nothing: nothing was started."""


class _Control:
    """The control of a pack in this process: it tells the news directly. ``steps`` counts calls of `progress`."""

    def __init__(self, news: News, signals: Signals) -> None:
        self._news, self._signals, self.steps = news, signals, 0

    @property
    def stopping(self) -> bool:
        return self._signals.came

    def progress(self, steps: Mapping[str, int]) -> None:
        self.steps += 1
        self._news.progress(steps)

    def ended(self, end: RunEnd) -> None:
        self._news.ended(end)
