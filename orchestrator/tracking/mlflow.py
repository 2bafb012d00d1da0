"""The one door to MLflow: sweep -> task x method -> seed, continued where an earlier driver stopped."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError, RunError
from orchestrator.plan import PlannedRun
from orchestrator.results import RunFolder
from orchestrator.spec import SweepSpec

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # by default a call to a dead server takes minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
BATCH = 900  # metrics a request; MLflow takes 1,000
STATISTICS = ("mean", "sd", "worst", "n", "diverged", "failed", "volatility", "base_accuracy", "validation_mean", "lr")


@dataclass
class _Known:
    """A run that MLflow has: the last step it was sent, and whether it has ended there."""

    id: str
    step: int = -1
    ended: bool = False
    described: bool = False


class MlflowTracker:
    """Writes through `MlflowClient` alone, from the driver, in batches; tags say what each run is.

    Tags: ``sweep``, ``kind`` (sweep, group, run), ``run_key``, ``task``, ``method``, ``seed``, ``lr``. They are how a
    second driver finds what the first has written, so that nothing is shown twice.
    """

    def __init__(self, sweep: SweepSpec, uri: str, command: str) -> None:
        self.sweep, self.uri, self.command = sweep, uri, command
        self._mine = f"tags.sweep = '{sweep.name}'"
        self._known: dict[str, _Known] = {}
        self._groups: dict[tuple[str, str], str] = {}

    def connect(self) -> None:
        """Create database and experiment once, before anybody writes, and find what is there of this sweep."""
        import mlflow
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it announces every migration of a new database
        mlflow.set_tracking_uri(self.uri)
        self._client = MlflowClient(tracking_uri=self.uri)
        try:
            found = self._client.get_experiment_by_name(self.sweep.experiment)
            self._experiment = found.experiment_id if found else self._create_experiment()
            self._remember()
            self._parent = self._parent_run()
        except MlflowException as error:
            reason = str(error).splitlines()[0]
            if self.uri.startswith(("http://", "https://")):  # a server may come back
                raise RunError(f"MLflow at {self.uri} does not answer: {reason}") from error
            raise InputError(
                f"tracking.uri={self.uri} cannot be used: {reason} Correct it, or use sqlite:///mlflow.db."
            ) from error

    def sync(self, runs: Sequence[PlannedRun], folder: Path) -> None:
        """Send new steps, then ends; whatever it raises, nothing is lost: call it again."""
        for run in runs:
            self._sync(run, RunFolder(folder / "runs" / run.key))

    def fail(self, run: PlannedRun, error: str) -> None:
        """End the run as FAILED with the end of its error; it is taken up again when it is trained again."""
        known = self._open(run)
        self._client.set_tag(known.id, "error", error[-4000:])
        self._client.set_terminated(known.id, "FAILED")

    def run_id(self, key: str) -> str | None:
        """Return MLflow's id of a run."""
        return self._known[key].id if key in self._known else None

    def summarise(self, summary: Mapping[str, Any], files: Sequence[Path], complete: bool) -> None:
        """Put statistics on groups and sweep, files on the sweep, and end them."""
        for task, content in summary["tasks"].items():
            for method, one in content["methods"].items():
                if (task, method) in self._groups:
                    self._log(self._groups[task, method], _statistics(one))
                    self._client.set_terminated(self._groups[task, method], "FINISHED")
        macro = {f"macro.{label}": one["mean"] for label, one in summary["macro"]["methods"].items()}
        self._log(self._parent, {name: value for name, value in macro.items() if value is not None})
        self._client.set_tag(self._parent, "mlflow.note.content", f"{summary['headline']}\n\n`{self.command}`")
        for file in files:
            self._client.log_artifact(self._parent, str(file))
        self._client.set_terminated(self._parent, "FINISHED" if complete else "FAILED")

    def register(self, task: str, evaluation: Mapping[str, Any], place: Path) -> None:
        """Register the champion's directory under ``<sweep>-<task>``, unless this very champion is there."""
        name, key = f"{self.sweep.name}-{task}", str(evaluation["run_key"])
        if not self._client.search_registered_models(f"name = '{name}'"):
            self._client.create_registered_model(name)
        present = self._champion(name)
        if present and present.tags.get("run_key") == key and present.source == place.as_uri():
            return
        tags = {"run_key": key, "task": task, "method": str(evaluation["method"]), "sweep": self.sweep.name}
        version = self._client.create_model_version(name, place.as_uri(), run_id=self.run_id(key), tags=tags)
        self._client.set_registered_model_alias(name, "champion", version.version)

    def _champion(self, name: str) -> Any:
        """Return the version that has the alias, or None."""
        aliases = self._client.get_registered_model(name).aliases
        return self._client.get_model_version(name, aliases["champion"]) if "champion" in aliases else None

    def _create_experiment(self) -> str:
        """Create the experiment; beside a local database, its artefacts lie beside the database."""
        place = None
        if self.uri.startswith("sqlite:///"):
            place = (Path(self.uri.removeprefix("sqlite:///")).resolve().parent / "mlartifacts").as_uri()
        tags = {"mlflow.experimentKind": "custom_model_development"}  # the page opens on runs, not on traces
        return str(self._client.create_experiment(self.sweep.experiment, artifact_location=place, tags=tags))

    def _remember(self) -> None:
        """Find the runs of this sweep that an earlier driver has written."""
        for run in self._search():
            tags, status = run.data.tags, run.info.status
            if tags.get("kind") == "group":
                self._groups[tags["task"], tags["method"]] = run.info.run_id
            elif tags.get("kind") == "run":
                history = self._client.get_metric_history(run.info.run_id, "train_loss")
                step = max((point.step for point in history), default=-1)
                ended = status == "FINISHED" or tags.get("status") == "diverged"
                self._known[tags["run_key"]] = _Known(run.info.run_id, step, ended)

    def _search(self) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment], self._mine, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _parent_run(self) -> str:
        for run in self._search():
            if run.data.tags.get("kind") == "sweep":
                self._client.update_run(run.info.run_id, status="RUNNING")
                return str(run.info.run_id)
        return self._create(self.sweep.name, {"kind": "sweep", "mlflow.note.content": f"`{self.command}`"})

    def _create(self, name: str, tags: Mapping[str, str], parent: str | None = None) -> str:
        nested = {"mlflow.parentRunId": parent} if parent else {}
        all_tags = {"sweep": self.sweep.name, "mlflow.source.name": self.command, **nested, **tags}
        run = self._client.create_run(self._experiment, tags=all_tags, run_name=name)
        return str(run.info.run_id)

    def _open(self, run: PlannedRun) -> _Known:
        """Return the run in MLflow, created with its group if it is new."""
        known = self._known.get(run.key)
        if known is None:
            known = self._known[run.key] = _Known(self._made(run))
        if not known.described:  # parameters may be sent again: they never change
            self._client.log_batch(known.id, params=self._params(run))
            known.described = True
        return known

    def _made(self, run: PlannedRun) -> str:
        """Return the run's id in MLflow, creating it unless it is there: an answer may have been lost on its way."""
        there = self._client.search_runs([self._experiment], f"tags.run_key = '{run.key}' and {self._mine}")
        if there:
            return str(there[0].info.run_id)
        spec = run.spec
        group = (spec.task.name, spec.method.label)
        if group not in self._groups:
            tags = {"kind": "group", "task": group[0], "method": group[1]}
            self._groups[group] = self._create(f"{group[1]} · {group[0]}", tags, self._parent)
        tags = {"kind": "run", "run_key": run.key, "task": group[0], "method": group[1]}
        tags |= {"seed": str(spec.seed), "lr": repr(spec.lr)}
        # what differs comes first: the column is narrow
        name = f"seed {spec.seed} · lr {spec.lr:g} · {group[1]} · {group[0]}"
        return self._create(name, tags, self._groups[group])

    def _params(self, run: PlannedRun) -> list[Any]:
        from mlflow.entities import Param

        spec = run.spec
        values = {"task": spec.task.name, "method": spec.method.name, "lr": spec.lr, "seed": spec.seed}
        values |= {f"method.{name}": value for name, value in spec.method.settings.items()}
        values |= {"targets": spec.method.targets, "model": spec.model.source}
        values |= {f"optim.{name}": value for name, value in spec.optim.model_dump(exclude={"lr"}).items()}
        return [Param(name, str(value)) for name, value in values.items()]

    def _sync(self, run: PlannedRun, place: RunFolder) -> None:
        ended = place.ended()
        if run.key in self._known and self._known[run.key].ended:
            return
        steps = place.metrics()
        if not steps and not ended:
            return
        known = self._open(run)
        self._send_steps(known, [row for row in steps if row["step"] > known.step])
        if ended:
            row = place.row()
            scores = ("accuracy", "accuracy_norm", "validation_accuracy", "eval_loss", "train_loss_volatility")
            self._log(known.id, {name: row[name] for name in (*scores, "train_seconds") if row.get(name) is not None})
            self._client.set_tag(known.id, "status", ended)
            if "error" in self._client.get_run(known.id).data.tags:  # of an earlier try
                self._client.delete_tag(known.id, "error")
            self._client.set_terminated(known.id, "FINISHED" if ended == "committed" else "FAILED")
            known.ended = True

    def _send_steps(self, known: _Known, rows: Sequence[Mapping[str, Any]]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(name, float(value), int(row["time"]), int(row["step"]))
            for row in rows
            for name, value in row.items()
            if name not in ("step", "time")
        ]
        for begin in range(0, len(metrics), BATCH):
            self._client.log_batch(known.id, metrics=metrics[begin : begin + BATCH])
        if rows:
            known.step = max(int(row["step"]) for row in rows)

    def _log(self, run_id: str, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        self._client.log_batch(run_id, metrics=[Metric(name, float(value), now, 0) for name, value in values.items()])


def _statistics(one: Mapping[str, Any]) -> dict[str, float]:
    """Return a method's statistics as metrics that MLflow's compare and search views can use."""
    found = {f"{name}_accuracy" if name in ("mean", "sd", "worst") else name: one.get(name) for name in STATISTICS}
    low, high = one.get("interval") or (None, None)
    found |= {"interval_low": low, "interval_high": high}
    return {name: float(value) for name, value in found.items() if value is not None}
