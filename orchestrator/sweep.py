"""One sweep from recipe to champions: prepare, train what is missing, summarise, report, merge."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

from rich.console import Console

from orchestrator.addresses import without_secrets
from orchestrator.cluster.address import check_address
from orchestrator.cluster.cluster import Cluster
from orchestrator.cluster.opening import open_cluster
from orchestrator.data.batches import count_steps
from orchestrator.driver.champions import choose
from orchestrator.driver.final_message import run_name, tell
from orchestrator.driver.prepare import Ready, make_ready
from orchestrator.driver.progress import watched
from orchestrator.driver.provenance import describe
from orchestrator.driver.rounds import take_back_stops
from orchestrator.errors import InputError
from orchestrator.files import read_json, write_bytes, write_json, write_lines
from orchestrator.machine.device import device_of
from orchestrator.machine.memory import is_about_memory
from orchestrator.paths import resolve
from orchestrator.plan.packs import pack_runs
from orchestrator.plan.runs import PlannedRun, expand, keyed
from orchestrator.recipe.environment import passed_over
from orchestrator.recipe.sections import ClusterSpec
from orchestrator.recipe.spec import SweepSpec
from orchestrator.report.page import write_report
from orchestrator.say import say
from orchestrator.search.halving import Halving, contest, kept_together, rungs_told
from orchestrator.search.next_runs import decisions, next_runs, spared, told
from orchestrator.store.champion import EVALUATION, up_to_date
from orchestrator.store.lease import hold
from orchestrator.store.manifest import DamagedRunError
from orchestrator.store.rows import dropped_row, publish_predictions, result_row
from orchestrator.store.run_folder import DONE, RunFolder
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.summary.summarise import summarise
from orchestrator.tracking.in_memory import MemoryTracker
from orchestrator.tracking.patient import PatientTracker
from orchestrator.tracking.sqlite_address import absolute
from orchestrator.tracking.tracker import Tracker
from orchestrator.wording import count
from orchestrator.worker.merge import ChampionJob, make_champion
from orchestrator.worker.pack_trainer import PackJob, forget_base, train_pack
from orchestrator.worker.probe import ProbeJob, probe_widths

SYNC_SECONDS = 15.0  # a sync costs about 25 ms of a processor a run that is training


@dataclass
class Sweep:
    """A sweep at work; the run folders are the truth, this only drives them."""

    spec: SweepSpec
    command: str
    console: Console
    folder: Path = field(init=False)
    files: SweepFolder = field(init=False)
    ready: Ready = field(init=False)
    runs: list[PlannedRun] = field(init=False)
    tracker: PatientTracker = field(init=False)
    _cluster: Cluster | None = None
    _scores: dict[str, float | None] = field(default_factory=dict)
    _measured: dict[str, int] | None = None

    def __post_init__(self) -> None:
        self.folder = resolve(self.spec.storage) / self.spec.name
        self.files = SweepFolder(self.folder)
        self.tracker = PatientTracker(make_tracker(self.spec, self.command), self._say)

    def run(self, train: bool = True) -> int:
        """Do what is not done yet; return the exit code: 0 all done, 1 something failed."""
        with hold(self.folder), self._closing():
            self._prepare(train)
            errors = self._train() if train else {}
            rows, summary = self._conclude(errors)
            champions, broken = self._champions(rows, summary)
            sound = {task: one for task, one in champions.items() if one["status"] == "sound"}
            complete = not broken and all(row["status"] in DONE for row in rows)
            self._finish(rows, summary, champions, complete)
            complete = complete and self.tracker.behind is None
            problems = [f"no champion for {task}: {error}" for task, error in broken.items()]
            if self.tracker.problem:
                problems.append(self.tracker.problem)
            tell(self.spec, self.folder, rows, summary, sound, problems, console=self.console)
        return 0 if complete else 1

    def _say(self, text: str) -> None:
        """Print a line as it is."""
        say(self.console, without_secrets(text))

    def _prepare(self, train: bool) -> None:
        self._say(f"{self.spec.name}: preparing")
        if self.spec.cluster.kind == "local":  # it costs nothing, and a GPU that is not there is told before all else
            self._open_cluster()
        else:
            check_address()
        self.tracker.look()
        if line := passed_over(self.spec.tracking.uri, os.environ):
            self._say(line)
        self.ready = make_ready(self.spec, self.files.cache, self._say)
        self.spec = self.ready.sweep
        self.runs = keyed(expand(self.spec), self.ready.base.fingerprint, self.ready.fingerprints)
        if not train:
            self._refuse_nothing_to_merge()
        steps = {run.spec.task.name: self._steps(run) for run in self.runs}
        for line in rungs_told(self.spec.search, steps) if train else ():  # what cannot be judged ends here
            self._say(line)
        if old := self.files.runs_of_other_formats():
            self._say(
                f"{count(old, 'run')} in {self.files.runs} of another version, whose results are not comparable: "
                "not taken up, and not deleted"
            )
        if train or not self.files.sweep.exists():  # the command that trained is what makes it again
            write_json(self.files.sweep, describe(self.spec, self.command, self.ready, self.runs))
        self.tracker.begin()

    def _refuse_nothing_to_merge(self) -> None:
        """Refuse a merge without a committed run: it would write empty tables over those of an older version."""
        if not any(self._folder_of(run).ended() == "committed" for run in self.runs):
            first = self.command.replace("jobs/merge.py", "jobs/sweep.py", 1)
            raise InputError(f"{self.files.runs}: nothing of this version is committed here; first: {first}")

    def _train(self) -> dict[str, str]:
        """Train rung after rung what the search asks for; return run key -> error of those that could not be."""
        self._take_back_damaged()
        failed: dict[str, str] = {}
        rung = self._next_rung(failed)
        done = sum(self._folder_of(run).ended() is not None for run in self.runs)
        if self.spec.search.kind == "grid":
            self._say(f"{len(self.runs)} runs planned, {done} done already, {len(self.runs) - done} to train")
        else:
            most = self.spec.runs_at_most
            self._say(f"{most} runs planned at most, {done} done already, {len(rung)} to train next")
        while rung:
            failed |= self._train_rung(rung)
            results = self._results()
            known = {*results, *failed}
            failed |= {run.key: "Its result cannot be read." for run in rung if run.key not in known}
            for line in told(decisions(self.spec, self.runs, results, failed)):
                self._say(line)
            rung = self._next_rung(failed)
        return failed

    def _next_rung(self, failed: Mapping[str, str]) -> list[PlannedRun]:
        """Return the runs to train now; those of them that another search has stopped begin anew, others stay so."""
        rung = next_runs(self.spec, self.runs, self._results(), failed)
        if taken := take_back_stops(map(self._folder_of, rung), self.spec.search):
            self._say(f"{count(taken, 'run')} that another search had stopped: to be trained from the beginning")
        return rung

    def _train_rung(self, rung: Sequence[PlannedRun]) -> dict[str, str]:
        """Train these runs, and again those that failed; return run key -> error of those that could not be."""
        missing = list(rung)
        errors: dict[str, str] = {}
        steps = {run.key: self._steps(run) for run in self.runs}
        keys = frozenset(run.key for run in missing)
        with watched(self.folder, steps, keys, self.console, self._sync_sometimes(), self.spec.runs_at_most):
            for attempt in range(1, self.spec.cluster.retries + 2):
                if attempt > 1 and any(map(is_about_memory, errors.values())):
                    self._say(
                        "memory was full: each of these runs is now trained alone; engine.gradient_checkpointing=true "
                        "or a smaller cluster.pack leave more room"
                    )
                errors = self._attempt(missing, attempt)
                missing = [run for run in missing if not self._folder_of(run).ended()]
                if not missing:
                    break
        return {run.key: errors.get(run.key, "The trainer ended without a result.") for run in missing}

    def _results(self) -> dict[str, float | None]:
        """Return the validation accuracy of each run that has ended, None where it diverged; each is read once.

        One that was stopped has ended for nobody but the search, and the rule, that has stopped it.
        """
        halving = Halving.of(self.spec.search)
        ours = ("committed", "diverged") if halving is None else ("committed", "diverged", halving.rule)
        for run in self.runs:
            folder = self._folder_of(run)
            if run.key not in self._scores and (folder.stopped_by() or folder.ended()) in ours:
                with suppress(DamagedRunError):  # it counts as not trained, and its own row says why
                    self._scores[run.key] = folder.row()["validation_accuracy"]
        return self._scores

    def _attempt(self, missing: Sequence[PlannedRun], attempt: int) -> dict[str, str]:
        """Run the missing as packs, the second time each alone, so that a bad run fails by itself."""
        unscored = [task for task in self.ready.data if not self._base_file(task).exists()]
        cluster = self._open_cluster()
        self.tracker.connect()  # a wrong address ends the sweep here, and measuring wants this process for itself
        widths = self._widths(missing, cluster) if attempt == 1 else dict.fromkeys(self.ready.data, 1)
        packs = pack_runs(
            missing,
            widths=widths,
            concurrent=cluster.concurrent,
            base_tasks=unscored,
            work=self.ready.work,
            attempt=attempt,
            field_of=kept_together(self.spec.search),
        )
        data = {task: str(one.path) for task, one in self.ready.data.items()}
        base, cuts = self.ready.base, self.ready.shortcuts
        found = contest(self.spec.search, self.runs)
        contests = [found and found.only(pack.runs) for pack in packs]
        jobs = [
            PackJob(str(self.folder), str(base.path), base.fingerprint, data, self.spec.trained_by, pack, judged, cuts)
            for pack, judged in zip(packs, contests, strict=True)
        ]
        failures = cluster.run_packs(jobs, train_pack)
        forget_base()  # this process has trained, unless Ray has
        return {run.key: failures[pack.name] for pack in packs if pack.name in failures for run in pack.runs}

    def _widths(self, missing: Sequence[PlannedRun], cluster: Cluster) -> dict[str, int]:
        """Return how many runs of each task a pack holds at most: as the recipe says, or as measured."""
        wanted = self.spec.cluster.pack
        if wanted != "auto":
            return dict.fromkeys(self.ready.data, wanted)
        if len(missing) <= cluster.concurrent:
            return dict.fromkeys(self.ready.data, 1)
        if self._measured is not None and self.spec.search.kind != "tpe":  # by an earlier rung, of the same settings
            return self._measured
        self._say("measuring how many runs to train together")
        data = {task: str(one.path) for task, one in self.ready.data.items()}
        place, workers, engine = str(self.ready.base.path), self.spec.cluster.workers, self.spec.trained_by
        job = ProbeJob(place, data, engine, tuple(missing), cluster.concurrent, workers, self.ready.shortcuts)
        try:
            widths: dict[str, int] = cluster.call(_Probe(job, self.spec.cluster), self.folder)
        except Exception as error:  # it may have run out of memory: then packs would
            self._say(f"measuring failed ({shorten(str(error), 200)}); every run is trained alone")
            return dict.fromkeys(self.ready.data, 1)
        self._say("runs to a pack, at most: " + ", ".join(f"{task} {width}" for task, width in widths.items()))
        self._measured = dict.fromkeys(self.ready.data, 1) | widths
        return self._measured

    def _conclude(self, errors: Mapping[str, str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Collect results and predictions from the run folders and write the summary."""
        self._sync()
        needless = spared(self.spec, self.runs, self._results(), errors)
        rows = [self._row(run, errors, needless) for run in self.runs]
        committed = [run for run, row in zip(self.runs, rows, strict=True) if row["status"] == "committed"]
        predictions = {
            run.key: publish_predictions(self._folder_of(run), self.files.predictions(run.key)) for run in committed
        }
        for run in self.runs:
            if run.key in errors:
                write_bytes(self._folder_of(run).error, errors[run.key].encode())
                self.tracker.fail(run, errors[run.key])
            elif self._folder_of(run).ended():
                self._folder_of(run).error.unlink(missing_ok=True)
        write_lines(self.files.results, rows)
        summary: dict[str, Any] = {**summarise(rows, predictions)}
        write_json(self.files.summary, summary)
        return rows, summary

    def _champions(
        self, rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]
    ) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """Merge and evaluate the best run of each task; return the evaluations, and what is wrong, by task."""
        found: dict[str, dict[str, Any]] = {}
        broken: dict[str, str] = {}
        if not self.spec.champions:
            return found, broken
        for task, row in choose(rows, summary).items():
            place = self.files.champion(task)
            evaluation = up_to_date(place, row["run_key"])
            if evaluation is None:
                self._say(f"merging the champion of {task}: {run_name(row)}")
                try:
                    evaluation = self._make_champion(row, place)
                except Exception as error:  # one task's champion must not cost the others theirs
                    broken[task] = str(error)
                    continue
            if evaluation["status"] == "broken":
                broken[task] = f"{evaluation['why']} (details: {place / EVALUATION})"
            found[task] = evaluation
        return found, broken

    def _make_champion(self, row: Mapping[str, Any], place: Path) -> dict[str, Any]:
        job = ChampionJob(
            row=dict(row),
            folder=str(self.folder),
            base_path=str(self.ready.base.path),
            base_fingerprint=self.ready.base.fingerprint,
            base_accuracy=row["base_accuracy"],
            data=str(self.ready.data[row["task"]].path),
            dtype=self.spec.dtype,
            share=self.ready.shortcuts.share,
            gpus=self.spec.cluster.gpus_per_worker,
        )
        place.parent.mkdir(parents=True, exist_ok=True)
        result: dict[str, Any] = self._open_cluster().call(_Merge(job), place)
        return result

    def _finish(
        self,
        rows: Sequence[dict[str, Any]],
        summary: dict[str, Any],
        champions: dict[str, dict[str, Any]],
        complete: bool,
    ) -> None:
        """Write the report and put statistics and files on the tracker's parents."""
        report = self.files.report
        write_report(report, read_json(self.files.sweep), summary, list(rows), champions)
        self._sync()  # nothing is asked if the last one arrived
        for task, evaluation in champions.items():
            if evaluation["status"] == "broken":
                continue
            self.tracker.register(task, evaluation, self.files.champion(task))
        self.tracker.summarise(summary, self.folder, complete)

    def _row(self, run: PlannedRun, errors: Mapping[str, str], needless: Mapping[str, str]) -> dict[str, Any]:
        base = read_json(self._base_file(run.spec.task.name))
        extra = {
            "mlflow_run_id": self.tracker.run_id(run.key),
            "base_accuracy": base["accuracy"] if isinstance(base, dict) else None,
        }
        if run.key in needless and self._folder_of(run).ended() is None:  # it may have been stopped before
            return dropped_row(run, needless[run.key], extra | {"search": self.spec.search.kind})
        return result_row(run, self._folder_of(run), errors.get(run.key, "not trained yet"), extra)

    def _take_back_damaged(self) -> None:
        """Take back each end that is not what it was, and say so: the run is trained again."""
        for run in self.runs:
            folder = self._folder_of(run)
            try:
                folder.check()
            except DamagedRunError as error:
                self._say(f"damaged: {error} It is trained again.")
                folder.discard()

    def _sync(self) -> None:
        self.tracker.sync(self.runs, self.folder)

    def _sync_sometimes(self) -> Callable[[], None]:
        """Return a function that syncs every few seconds, however often it is called, once there is a connection."""
        last = [time.monotonic()]

        def sync() -> None:
            if time.monotonic() - last[0] >= SYNC_SECONDS and not self.tracker.connecting:
                self._sync()
                last[0] = time.monotonic()

        return sync

    def _steps(self, run: PlannedRun) -> int:
        optim = run.spec.optim
        return count_steps(self.ready.train_rows[run.spec.task.name], optim.global_batch, optim.epochs)

    def _folder_of(self, run: PlannedRun) -> RunFolder:
        return self._folder_of_key(run.key)

    def _folder_of_key(self, key: str) -> RunFolder:
        return self.files.run(key)

    def _base_file(self, task: str) -> Path:
        return self.files.base_scores(str(self.ready.data[task].path), self.ready.base.fingerprint, self.spec.dtype)

    def _open_cluster(self) -> Cluster:
        """Return the cluster, opened on first use: a sweep with nothing to do starts none."""
        if self._cluster is None:
            self._cluster = open_cluster(self.spec, self.files.ray, self._say)
        return self._cluster

    @contextmanager
    def _closing(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self._cluster is not None:
                self._cluster.close()


@dataclass(frozen=True)
class _Probe:
    """The measurement as a function of a place, so that it can travel; it needs none."""

    job: ProbeJob
    cluster: ClusterSpec

    def __call__(self, _place: Path) -> dict[str, int]:
        return probe_widths(self.job, device_of(self.cluster.gpus_per_worker))


@dataclass(frozen=True)
class _Merge:
    """The final job of one task as a function of its place, so that it can travel."""

    job: ChampionJob

    def __call__(self, place: Path) -> dict[str, Any]:
        return make_champion(self.job, place)


def make_tracker(spec: SweepSpec, command: str) -> Tracker:
    """Return the tracker that the recipe names."""
    if spec.tracking.uri == "none":
        return MemoryTracker()
    from orchestrator.tracking.mlflow.tracker import MlflowTracker

    return MlflowTracker(spec, absolute(spec.tracking.uri), command)
