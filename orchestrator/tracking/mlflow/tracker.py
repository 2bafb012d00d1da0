"""The one door to MLflow: sweep -> task x method -> seed, continued where an earlier driver stopped."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from orchestrator.addresses import SERVERS, without_secrets
from orchestrator.errors import InputError, RunError
from orchestrator.files import read_json, read_lines
from orchestrator.plan.runs import PlannedRun
from orchestrator.recipe.environment import unchanged_environment
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.run_folder import RunFolder
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.tracking.failures import lasts, reason_of
from orchestrator.tracking.mlflow import fields as shown
from orchestrator.tracking.mlflow.base import base_as_model
from orchestrator.tracking.mlflow.charts import show_charts
from orchestrator.tracking.mlflow.entities import data_input, model_input, params, points, run_tags
from orchestrator.tracking.mlflow.experiment import runs_there, usable_experiment
from orchestrator.tracking.mlflow.inputs import base_model, data_sets
from orchestrator.tracking.mlflow.registry import register_champion
from orchestrator.tracking.mlflow.sql import look_at_sql
from orchestrator.tracking.sqlite_address import no_other_folder

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # MLflow prints each address with its password
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # by default a call to a dead server takes minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
BATCH = 900  # metrics a request; MLflow takes 1,000 entries, and parameters and tags go with them
LAST = "tokens"  # of the values of a step, the one that is sent last
FILES = ("report.html", "summary.json", "results.jsonl", "sweep.json")  # of the sweep's folder, shown with it
STATUS = {"committed": "FINISHED", "diverged": "FAILED", "stopped": "KILLED"}  # MLflow's word for how a run ended
PARENT = "mlflow.parentRunId"  # the tag by which MLflow's page makes a tree


@dataclass
class _Known:
    """A run that MLflow has, and what of it is there.

    ``step`` is the last one there, or None where MLflow must be asked: for a run of an earlier driver, and when the
    answer to a request was lost on its way.
    """

    id: str
    group: tuple[str, str]
    parent: str | None
    step: int | None = None
    ended: bool = False
    described: bool = False
    failed: bool = False
    stopped: bool = False


class MlflowTracker:
    """Writes through `MlflowClient` alone, from the driver, in batches; tags say what each run is.

    Tags: ``sweep``, ``kind`` (sweep, group, run), ``run_key``, ``task``, ``method``, ``seed``, ``lr``, ``model``.
    They are how a second driver finds what the first has written, so that nothing is shown twice.

    What is there is listed when it connects, and again when an answer to a creation was lost on its way; in between it
    knows, and asks for nothing. Times come from the run folders, so a value that is sent again is the same value.
    """

    def __init__(self, sweep: SweepSpec, uri: str, command: str) -> None:
        self.sweep, self.uri, self.command = sweep, uri, command
        self._mine = f"tags.sweep = '{sweep.name}'"
        self._known: dict[str, _Known] = {}
        self._parents: dict[tuple[str, ...], str] = {}  # () is the sweep, (task, method) a group
        self._above: dict[str, str | None] = {}  # of a group's id, its parent's
        self._numbers: dict[str, dict[str, float]] = {}  # of a parent, by its id
        self._listed = False  # whether all that MLflow has of this sweep is in these three
        self._summed: int | None = None  # when it was summarised first: a repeated request is the same request

    def look(self) -> None:
        """Refuse a local database that cannot be opened, and a driver that is not installed; InputError."""
        look_at_sql(self.uri)

    def connect(self) -> None:
        """Create database and experiment once, before anybody writes, and find what is there of this sweep.

        InputError if no waiting mends what is wrong, RunError if it may.
        """
        try:
            with no_other_folder(self.uri):
                self._connect()
        except InputError:
            raise
        except Exception as error:  # of MLflow, of a library below it, of a file system
            address, reason = without_secrets(self.uri), reason_of(error)
            if not lasts(error):  # a server may come back
                raise RunError(f"MLflow at {address} does not answer: {reason}") from error
            raise InputError(
                f"tracking.uri={address} cannot be used: {reason} Correct it, or train without: tracking.uri=none"
            ) from error

    def _connect(self) -> None:
        import mlflow
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it announces every migration of a new database
        look_at_sql(self.uri, connect=True)
        with unchanged_environment():
            mlflow.set_tracking_uri(self.uri)
        self._client = MlflowClient(tracking_uri=self.uri)
        self._experiment = usable_experiment(self._client, self.sweep.experiment, self.uri)
        self._known, self._parents, self._above = {}, {}, {}  # what an earlier connection found may be gone
        self._remember()
        self._open_sweep()
        self._mend_tree()

    def sync(self, runs: Sequence[PlannedRun], folder: Path) -> None:
        """Send new steps, then ends; whatever it raises, nothing is lost: call it again."""
        begun = {path.name for path in SweepFolder(folder).runs.glob("*")}
        for run in runs:
            if run.key not in begun:
                continue
            known, place = self._known.get(run.key), SweepFolder(folder).run(run.key)
            if known and known.stopped and place.ended() != "stopped":
                self._take_up(known)
            if not (known and known.ended):
                self._sync(run, place)

    def fail(self, run: PlannedRun, error: str) -> None:
        """End the run as FAILED with the end of its error; it is taken up again when it is trained again."""
        known = self._open(run)
        known.failed = True
        self._send(run, known, [], {"error": error[-4000:]})
        self._client.set_terminated(known.id, "FAILED")

    def run_id(self, key: str) -> str | None:
        """Return MLflow's id of a run."""
        return self._known[key].id if key in self._known else None

    def summarise(self, summary: Mapping[str, Any], folder: Path, complete: bool) -> None:
        """Put statistics, inputs, figures and files on groups and sweep, and end them: first all numbers, then files.

        Figures are drawn here, from the folder; see `figures`. An older driver's numbers are not sent a second time.
        """
        from orchestrator.tracking.figures import files as figures  # matplotlib takes a second

        self._summed = self._summed or round(time.time() * 1000)
        rows, sweep = read_lines(folder / "results.jsonl"), read_json(folder / "sweep.json") or {}
        groups = [
            (task, method, one, self._parents[task, method])
            for task, content in summary["tasks"].items()
            for method, one in content["methods"].items()
            if (task, method) in self._parents
        ]
        sets = {task: data_input(one) for task, one in data_sets(sweep).items()}
        base = base_as_model(self._client, self._experiment, base_model(sweep))
        models = [model_input(base)] if base else []
        address = f"#/experiments/{self._experiment}/runs"
        note = {shown.NOTE: shown.sweep_note(self.sweep.name, summary, self.command, address)}
        self._show(self._parents[()], shown.macro(summary), note, figures.SWEEP_TABLES)
        self._client.log_inputs(self._parents[()], list(sets.values()), models)
        for task, method, one, group in groups:
            tags = shown.group_summary_tags(task, method, one)
            self._show(group, shown.statistics(one), tags, figures.GROUP_TABLES)
            self._client.log_inputs(group, [sets[task]] if task in sets else [], models)
        for task, method, one, group in groups:
            with TemporaryDirectory() as place:
                figures.write_group_files(task, method, one, rows, folder, Path(place))
                self._client.log_artifacts(group, place)
            self._client.set_terminated(group, "FINISHED")
        with TemporaryDirectory() as place:
            figures.write_sweep_files(summary, rows, folder, Path(place))
            self._client.log_artifacts(self._parents[()], place)
        with TemporaryDirectory() as place:
            charts, done = figures.write_charts(summary, rows, Path(place)), shown.finished(rows)
            show_charts(self._client, self._parents[()], charts, done, self._summed)
        for file in (folder / name for name in FILES):
            if file.exists():
                self._client.log_artifact(self._parents[()], str(file))
        self._client.set_terminated(self._parents[()], "FINISHED" if complete else "FAILED")

    def register(self, task: str, evaluation: Mapping[str, Any], place: Path) -> None:
        """Register the champion's directory under ``<sweep>-<task>``, unless this very champion is there."""
        tags = {"run_key": str(evaluation["run_key"]), "task": task, "method": str(evaluation["method"])}
        tags |= {"sweep": self.sweep.name}
        run_id, server = self.run_id(tags["run_key"]), self.uri.startswith(SERVERS)
        with no_other_folder(self.uri):  # the registry opens the database for itself
            register_champion(self._client, f"{self.sweep.name}-{task}", tags, place, run_id, server)

    def _show(self, parent: str, values: Mapping[str, float], tags: Mapping[str, str], tables: Sequence[str]) -> None:
        """Put numbers that are not there yet on a parent, and tags, one of which names its tables to MLflow's pages."""
        there = self._numbers.get(parent, {})
        new = {name: value for name, value in values.items() if there.get(name) != value}
        named = {"mlflow.loggedArtifacts": json.dumps([{"path": path, "type": "table"} for path in tables])}
        self._client.log_batch(parent, points(new, self._summed or 0), tags=run_tags({**tags, **named}))
        self._numbers[parent] = {**there, **values}

    def _remember(self) -> None:
        """Find what MLflow has of this sweep that is not known yet."""
        for run in runs_there(self._client, self._experiment, self._mine):
            tags, status = run.data.tags, run.info.status
            if tags.get("kind") in ("sweep", "group"):
                self._numbers[run.info.run_id] = dict(run.data.metrics)
            if tags.get("kind") == "sweep":
                self._parents[()] = run.info.run_id
            elif tags.get("kind") == "group":
                self._parents[tags["task"], tags["method"]] = run.info.run_id
                self._above[run.info.run_id] = tags.get(PARENT)
            elif tags.get("kind") == "run":
                ended = status == "FINISHED" or ("status" in tags and status == STATUS.get(tags["status"]))
                stopped = ended and tags.get("status") == "stopped"
                group = (tags["task"], tags["method"])
                found = _Known(run.info.run_id, group, tags.get(PARENT), None, ended, False, "error" in tags, stopped)
                self._known.setdefault(tags["run_key"], found)
        self._listed = True

    def _open_sweep(self) -> None:
        """Take the sweep's own run up again, or create it."""
        if () in self._parents:
            self._client.update_run(self._parents[()], status="RUNNING")
        else:
            tags = {"kind": "sweep", "model": self.sweep.model.source, shown.NOTE: f"`{self.command}`"}
            self._parents[()] = self._create(self.sweep.name, tags)

    def _mend_tree(self) -> None:
        """Give children their new parent where their own was deleted, whoever has made them."""
        for group, above in self._above.items():
            if above != self._parents[()]:
                self._client.set_tag(group, PARENT, self._parents[()])
                self._above[group] = self._parents[()]
        for known in self._known.values():
            parent = self._group(*known.group)
            if known.parent != parent:
                self._client.set_tag(known.id, PARENT, parent)
                known.parent = parent

    def _group(self, task: str, method: str) -> str:
        """Return the parent of all runs of a task and a method, created if it is new."""
        if (task, method) not in self._parents:
            tags = shown.group_tags(task, method, self.sweep.model.source)
            self._parents[task, method] = self._create(f"{method} · {task}", tags, self._parents[()])
        return self._parents[task, method]

    def _create(self, name: str, tags: Mapping[str, str], parent: str | None = None) -> str:
        nested = {PARENT: parent} if parent else {}
        all_tags = {"sweep": self.sweep.name, "mlflow.source.name": self.command, **nested, **tags}
        self._listed = False  # until the answer is there
        run = self._client.create_run(self._experiment, tags=all_tags, run_name=name)
        self._listed = True
        return str(run.info.run_id)

    def _open(self, run: PlannedRun) -> _Known:
        """Return the run in MLflow, created with its group if it is new."""
        if not self._listed:
            self._remember()
        if run.key not in self._known:
            group = (run.spec.task.name, run.spec.method.label)
            parent = self._group(*group)
            made = self._create(shown.title(run), shown.tags(run, self.command), parent)
            self._known[run.key] = _Known(made, group, parent, step=-1)
        return self._known[run.key]

    def _sync(self, run: PlannedRun, place: RunFolder) -> None:
        """Send what is new of a run, in one request, and its end when all the rest has arrived."""
        ended, steps = place.ended(), place.metrics()
        if not steps and not ended:
            return
        known = self._open(run)
        step = self._last_step(known.id) if known.step is None else known.step
        new = [row for row in steps if row["step"] > step]
        metrics = [point for row in new for point in points(shown.step_values(row), int(row["time"]), int(row["step"]))]
        if ended:
            metrics += points(shown.scores(place.row()), int(steps[-1]["time"]) if steps else 0)
        known.step = None  # until the answer is there
        self._send(run, known, metrics, shown.end_tags(ended, place.row()) if ended else {})
        known.step = max((int(row["step"]) for row in new), default=step)
        if ended:
            self._end(known, STATUS[ended])
            known.stopped = ended == "stopped"

    def _take_up(self, known: _Known) -> None:
        """Let a run that was stopped go on: it is being trained to its end."""
        for tag in ("reason", "status"):  # the status last: it is what a driver that is killed here would look at
            if tag in self._client.get_run(known.id).data.tags:
                self._client.delete_tag(known.id, tag)
        self._client.update_run(known.id, status="RUNNING")
        known.ended = known.stopped = False

    def _last_step(self, run_id: str) -> int:
        return max((point.step for point in self._client.get_metric_history(run_id, LAST)), default=-1)

    def _send(self, run: PlannedRun, known: _Known, metrics: Sequence[Any], tags: Mapping[str, str]) -> None:
        """Send in as few requests as MLflow takes, the tags last: they say that the rest is there."""
        described = [] if known.described else params(shown.params(run))  # may be sent again: they never change
        for begin in range(0, max(1, len(metrics)), BATCH):
            last = begin + BATCH >= len(metrics)
            self._client.log_batch(known.id, metrics[begin : begin + BATCH], described, run_tags(tags) if last else [])
            described = []
        known.described = True

    def _end(self, known: _Known, status: str) -> None:
        if known.failed and "error" in self._client.get_run(known.id).data.tags:  # of an earlier try
            self._client.delete_tag(known.id, "error")
        self._client.set_terminated(known.id, status)
        known.ended = True
