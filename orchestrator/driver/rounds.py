"""Train in rounds: train the runs that the search asks for next, until the search asks for no more runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from rich.console import Console

from orchestrator.driver.packing import PackWidths, train_in_packs
from orchestrator.driver.prepare import ReadySweep
from orchestrator.driver.progress import Watched, show_progress
from orchestrator.driver.services import Services
from orchestrator.driver.validation_scores import ValidationScores
from orchestrator.machine.memory import is_about_memory
from orchestrator.plan.runs import PlannedRun
from orchestrator.say import Say, lines_to
from orchestrator.search.halving import stopping_rule
from orchestrator.search.next_runs import decisions, lines, next_runs
from orchestrator.store.damage import take_back_damaged
from orchestrator.store.run_folder import RunFolder
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.wording import count

SYNC_SECONDS = 15.0  # the pause between syncs of the tracker; a sync takes 25 ms of processor time per run in training


def train_rounds(
    ready: ReadySweep, folder: SweepFolder, services: Services, scores: ValidationScores, console: Console
) -> dict[str, str]:
    """Train round after round; return run key -> error of the runs that could not be trained."""
    say, spec = lines_to(console), ready.spec
    widths = PackWidths(ready, folder, say)
    take_back_damaged([folder.run(run.key) for run in ready.runs], say)
    failed: dict[str, str] = {}
    runs = _next_round(ready, folder, scores, failed, say)
    say(_plan(ready, sum(folder.run(run.key).ended() is not None for run in ready.runs), len(runs)))
    while runs:
        failed |= _train_round(ready, folder, services, widths, runs, console)
        results = scores.read()
        failed |= {run.key: "Its result cannot be read." for run in runs if run.key not in {*results, *failed}}
        for line in lines(decisions(spec, ready.runs, results, failed)):
            say(line)
        runs = _next_round(ready, folder, scores, failed, say)
    return failed


def take_back_stops(folders: Iterable[RunFolder], rule: str | None) -> int:
    """Take back the stops of all rules but ``rule``, so that the stopped runs are trained from their beginning.

    ``rule`` is the rule of this sweep's search; None if the search stops no run. Return how many stops were taken back.
    """
    stopped_by_others = [folder for folder in folders if folder.stopped_by() not in (None, rule)]
    for folder in stopped_by_others:
        folder.reopen()
    return len(stopped_by_others)


def _plan(ready: ReadySweep, done: int, to_train: int) -> str:
    if ready.spec.search.kind == "grid":
        planned = len(ready.runs)
        return f"{planned} runs planned, {done} done already, {planned - done} to train"
    return f"{ready.spec.runs_at_most} runs planned at most, {done} done already, {to_train} to train next"


def _next_round(
    ready: ReadySweep, folder: SweepFolder, scores: ValidationScores, failed: Mapping[str, str], say: Say
) -> list[PlannedRun]:
    """Return the runs to train now. A run among them that another search had stopped begins anew."""
    runs = next_runs(ready.spec, ready.runs, scores.read(), failed)
    if taken := take_back_stops([folder.run(run.key) for run in runs], stopping_rule(ready.spec.search)):
        say(f"{count(taken, 'run')} that another search had stopped: to be trained from the beginning")
    return runs


def _train_round(
    ready: ReadySweep,
    folder: SweepFolder,
    services: Services,
    widths: PackWidths,
    runs: Sequence[PlannedRun],
    console: Console,
) -> dict[str, str]:
    """Train these runs and retry failed runs; return run key -> error of the runs that could not be trained."""
    missing, errors = list(runs), dict[str, str]()
    watched = Watched(folder, ready.steps_by_key, frozenset(run.key for run in runs), ready.spec.runs_at_most)
    with show_progress(watched, console, sync_sometimes(ready, folder, services)):
        for attempt in range(1, ready.spec.cluster.retries + 2):
            if attempt > 1 and any(map(is_about_memory, errors.values())):
                lines_to(console)(
                    "memory was full: each of these runs is now trained alone; engine.gradient_checkpointing=true "
                    "or a smaller cluster.pack leave more room"
                )
            cluster = services.cluster
            services.tracker.connect()  # a wrong address ends the sweep here, before the widths are measured
            errors = train_in_packs(ready, folder, cluster, missing, widths.of(missing, cluster, attempt), attempt)
            missing = [run for run in missing if not folder.run(run.key).ended()]
            if not missing:
                break
    return {run.key: errors.get(run.key, "The trainer ended without a result.") for run in missing}


def sync_sometimes(ready: ReadySweep, folder: SweepFolder, services: Services) -> Callable[[], None]:
    """Return a function that syncs the tracker at most every SYNC_SECONDS, and never while the tracker connects."""
    last = time.monotonic()

    def sync() -> None:
        nonlocal last
        if time.monotonic() - last >= SYNC_SECONDS and not services.tracker.connecting:
            services.tracker.sync(ready.runs, folder.path)
            last = time.monotonic()

    return sync
