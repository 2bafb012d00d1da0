"""Train in rounds: train the runs that the search asks for next, until the search asks for no more runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count as count_from

from rich.console import Console

from orchestrator.cluster.hub.breaker import closed_by_breaker
from orchestrator.driver.ends import settled
from orchestrator.driver.packing import PackWidths, train_in_packs
from orchestrator.driver.prepare import ReadySweep
from orchestrator.driver.progress import Watched, show_progress
from orchestrator.driver.retries import Retries
from orchestrator.driver.services import Services
from orchestrator.driver.syncing import syncing
from orchestrator.driver.validation_scores import ValidationScores
from orchestrator.machine.full_memory import is_about_memory
from orchestrator.plan.budget import left_out
from orchestrator.plan.runs import PlannedRun
from orchestrator.say import Say, lines_to
from orchestrator.search.halving import stopping_rule
from orchestrator.search.next_runs import decisions, lines, next_runs
from orchestrator.store.damage import take_back_damaged
from orchestrator.store.leftovers import remove_drafts
from orchestrator.store.run_folder import RunFolder
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.wording import count

NO_RESULT = "The trainer ended without a result."
UNREADABLE = "Its result cannot be read."
FULL_MEMORY = (
    "memory was full: these runs are now trained in packs half as large, or alone in micro batches half as large; "
    "engine.gradient_checkpointing=true or a smaller cluster.pack leave more room"
)


def train_rounds(
    ready: ReadySweep, folder: SweepFolder, services: Services, scores: ValidationScores, console: Console
) -> dict[str, str]:
    """Train round after round; return run key -> error of the runs that could not be trained."""
    say, spec = lines_to(console), ready.spec
    widths = PackWidths(ready, folder, say)
    take_back_damaged([folder.run(run.key) for run in ready.runs], say)
    for run in ready.runs:
        if not folder.run(run.key).ended():
            remove_drafts(folder.run(run.key).path)
    failed: dict[str, str] = {}
    runs = _next_round(ready, folder, scores, failed, say)
    ended = {run.key: end for run in ready.runs if (end := folder.run(run.key).ended()) is not None}
    say(_plan(ready, len(ended), len(runs)))
    if line := widths.spending.line():
        say(line)
    if not runs:
        return failed
    with syncing(lambda: _sync(ready, folder, services), say):
        while runs:
            training = {run.key for run in runs}
            ended = {key: end for key, end in ended.items() if key not in training}
            errors, ends = _train_round(ready, folder, services, widths, runs, ended, console)
            failed, ended = failed | errors, ended | ends
            results = scores.read()
            failed |= dict.fromkeys(training - results.keys() - failed.keys(), UNREADABLE)
            for line in lines(decisions(spec, ready.runs, results, failed)):
                say(line)
            runs = [] if left_out(failed.values()) else _next_round(ready, folder, scores, failed, say)
    return failed


def _sync(ready: ReadySweep, folder: SweepFolder, services: Services) -> None:
    """Send what is new to the tracker, unless the driver still waits for its connection."""
    if not services.tracker.connecting:
        services.tracker.sync(ready.runs, folder.path)


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
    ended: Mapping[str, str],
    console: Console,
) -> tuple[dict[str, str], dict[str, str]]:
    """Train these runs and retry failed runs; return the errors of runs that could not be trained, and the other ends.

    Both are by run key. ``ended`` are the ends of runs that had ended before. The ends of this round's runs come from
    their trainers (`settled`).
    """
    say, retries = lines_to(console), Retries(ready.spec.cluster.retries)
    watched = Watched(ready.steps_by_key, frozenset(run.key for run in runs), ended, ready.spec.runs_at_most)
    failed, ends = dict[str, str](), dict[str, str]()
    with show_progress(watched, console):
        cluster = services.cluster
        watched.news = cluster.news
        if services.tracker.connecting:
            services.tracker.connect()  # a wrong address ends the sweep here, before the widths are measured
        missing = list(runs)
        for attempt in count_from(1):
            errors = train_in_packs(ready, folder, cluster, missing, widths, attempt, retries.micro_batches)
            ends |= settled([run.key for run in missing], cluster.news.ends, folder, say)
            missing = [run for run in missing if run.key not in ends]
            failed = {run.key: errors.get(run.key, failed.get(run.key, NO_RESULT)) for run in missing}
            if closed_by_breaker(errors.values()) or left_out(errors.values()):
                break
            missing, narrow = retries.next_widths(missing, errors, cluster.news.beside)
            if not missing:
                break
            widths.narrow(narrow)
            if any(is_about_memory(errors.get(run.key, "")) for run in missing):
                say(FULL_MEMORY)
    return failed, ends
