"""The final pages of a sweep's own run and of its groups in MLflow: numbers, inputs, files, charts, and their end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from orchestrator.files import read_json, read_lines
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.tracking.figures.artefacts import write_group_files, write_sweep_files
from orchestrator.tracking.figures.charts import write_charts
from orchestrator.tracking.figures.tables import ACCURACY_TABLE, RUNS_TABLE
from orchestrator.tracking.mlflow import fields
from orchestrator.tracking.mlflow.base import base_as_model
from orchestrator.tracking.mlflow.charts import show_charts
from orchestrator.tracking.mlflow.closing import close_runs, end_parent
from orchestrator.tracking.mlflow.entities import data_input, model_input, points, run_tags
from orchestrator.tracking.mlflow.entries import Parent
from orchestrator.tracking.mlflow.inputs import base_model, data_sets
from orchestrator.tracking.mlflow.ledger import Ledger


@dataclass(frozen=True)
class Pages:
    """The pages of one sweep's parents; figures are drawn by the driver from the sweep's folder.

    ``time_ms`` is the time of the numbers in milliseconds. The time is the same in every try, so a request
    that is sent again is the same request.
    """

    client: Any
    ledger: Ledger
    summary: Mapping[str, Any]
    folder: SweepFolder
    time_ms: int

    def finish(self, complete: bool) -> None:
        """Put everything on groups and sweep, and end them: first all numbers, then files, which take longer."""
        rows = read_lines(self.folder.results)
        self._numbers()
        self._group_files(rows)
        self._sweep_files(rows)
        self._charts(rows)
        self.ledger.look_again()  # a request that was given up may have been carried out late
        close_runs(self.client, self.ledger)
        end_parent(self.client, self.ledger.sweep(), "FINISHED" if complete else "FAILED", self.ledger.last_end())

    def _groups(self) -> list[tuple[str, str, Mapping[str, Any]]]:
        """Return task, method and the method's summary of each group that MLflow has."""
        return [
            (task, method, statistics)
            for task, content in self.summary["tasks"].items()
            for method, statistics in content["methods"].items()
            if self.ledger.has_group(task, method)
        ]

    def _numbers(self) -> None:
        """Put statistics, descriptions and inputs on the sweep and its groups."""
        sweep = read_json(self.folder.sweep) or {}
        sets = {task: data_input(data) for task, data in data_sets(sweep).items()}
        base = base_as_model(self.client, self.ledger.experiment, base_model(sweep))
        models = [model_input(base)] if base else []
        address = f"#/experiments/{self.ledger.experiment}/runs"
        note = fields.sweep_note(self.ledger.spec.name, self.summary, self.ledger.command, address)
        top = self.ledger.sweep()
        self._show(top, fields.averages(self.summary), {fields.NOTE: note}, ACCURACY_TABLE)
        self.client.log_inputs(top.id, list(sets.values()), models)
        for task, method, statistics in self._groups():
            group = self.ledger.group(task, method)
            tags = fields.group_summary_tags(task, method, statistics)
            numbers = fields.statistics(statistics)
            self._show(group, numbers | fields.void_statistics(group.numbers, numbers), tags, RUNS_TABLE)
            self.client.log_inputs(group.id, [sets[task]] if task in sets else [], models)

    def _show(self, parent: Parent, values: Mapping[str, float], tags: Mapping[str, str], table: str) -> None:
        """Put new or changed numbers and tags on a parent. A tag of MLflow's own names the table to MLflow's pages."""
        new = {name: value for name, value in values.items() if parent.numbers.get(name) != value}
        tables = {"mlflow.loggedArtifacts": json.dumps([{"path": table, "type": "table"}])}
        self.client.log_batch(parent.id, points(new, self.time_ms), tags=run_tags({**tags, **tables}))
        parent.numbers |= values

    def _group_files(self, rows: Sequence[Any]) -> None:
        """Put figures and tables on each group, and end the group."""
        for task, method, statistics in self._groups():
            group = self.ledger.group(task, method)
            with TemporaryDirectory() as place:
                write_group_files(task, method, statistics, rows, self.folder.path, Path(place))
                self.client.log_artifacts(group.id, place)
            end_parent(self.client, group, "FINISHED", self.ledger.last_end((task, method)))

    def _sweep_files(self, rows: Sequence[Any]) -> None:
        """Put figures, tables, and the report and results of the sweep's folder on the sweep's own run."""
        top = self.ledger.sweep()
        with TemporaryDirectory() as place:
            write_sweep_files(self.summary, rows, self.folder.path, Path(place))
            self.client.log_artifacts(top.id, place)
        for file in (self.folder.report, self.folder.summary, self.folder.results, self.folder.sweep):
            if file.exists():
                self.client.log_artifact(top.id, str(file))

    def _charts(self, rows: Sequence[Any]) -> None:
        with TemporaryDirectory() as place:
            charts = write_charts(self.summary, rows, Path(place))
            show_charts(self.client, self.ledger.sweep().id, charts, fields.finished(rows), self.time_ms)
