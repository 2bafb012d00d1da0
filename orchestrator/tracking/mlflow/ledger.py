"""The runs and parents of a sweep in MLflow: listed once, and created if they are missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.plan.runs import PlannedRun
from orchestrator.recipe.spec import SweepSpec
from orchestrator.tracking.mlflow import fields
from orchestrator.tracking.mlflow.experiment import runs_of

STATUS = {"committed": "FINISHED", "diverged": "FAILED", "stopped": "KILLED"}  # MLflow's word for how a run ended
PARENT = "mlflow.parentRunId"  # the tag by which MLflow's page makes a tree
NO_STEP = -1  # the last step of a run that has none yet
WHOLE_SWEEP = ()  # the sweep's own run among the parents; a group is (task, method)

State = Literal["open", "ended", "stopped", "failed"]
"""What MLflow shows of a run: to be continued; ended for good; stopped by a search's rule; not trained, with an error.

"stopped" and "failed" may be taken up again, by a search with another rule and by another try.
"""


@dataclass
class Known:
    """A run in MLflow, and how much of the run MLflow has.

    ``begin`` and ``end`` are in milliseconds since 1970. MLflow never changes ``begin``. ``end`` is the time of the
    last step that was sent, or the end that MLflow shows; None where this driver knows neither. ``step`` is the last
    step that MLflow has, or None where MLflow has to be asked: for a run of an earlier driver, and when the answer to a
    request was lost on its way. ``described`` tells whether this driver has sent the run's parameters.
    """

    id: str
    group: tuple[str, str]
    parent: str | None
    begin: int
    end: int | None = None
    state: State = "open"
    step: int | None = None
    described: bool = False


@dataclass
class Parent:
    """The sweep's own run, or a group: the parent of all runs of a task and a method; ``above`` is a group's parent."""

    id: str
    begin: int
    above: str | None = None
    numbers: dict[str, float] = field(default_factory=dict)


class Ledger:
    """Knows which runs of a sweep MLflow has, and creates the missing ones.

    MLflow is asked once, by `resume`, and again when the answer to a creation was lost on its way, because the run may
    have been created. Otherwise MLflow is not asked. The tags ``kind``, ``run_key``, ``task`` and ``method`` are how a
    second driver finds the runs that the first has created, so that no run is shown twice.
    """

    def __init__(self, client: Any, experiment: str, sweep: SweepSpec, command: str) -> None:
        self.client, self.experiment, self.spec, self.command = client, experiment, sweep, command
        self._runs: dict[str, Known] = {}
        self._parents: dict[tuple[()] | tuple[str, str], Parent] = {}
        self._begins: dict[str, tuple[tuple[str, str], int]] = {}  # (group, ms) of runs that MLflow lacks
        self._listed = False  # whether ``_runs`` and ``_parents`` hold all that MLflow has of this sweep

    def resume(self) -> None:
        """List runs and parents, take the sweep's own run up again, and replace deleted parents.

        A sweep that MLflow does not have is created with its first run, and begins with this run. The experiment gets
        the sweep's name as a tag, so that a tracker which refuses to be written to is noticed before training.
        """
        self._list()
        if WHOLE_SWEEP in self._parents:
            self.client.update_run(self._parents[WHOLE_SWEEP].id, status="RUNNING")
        elif not (self._parents or self._runs):
            self.client.set_experiment_tag(self.experiment, "sweep", self.spec.name)
        self._mend_tree()

    def sweep(self) -> Parent:
        """Return the sweep's own run, created if it is new."""
        self._list_if_unsure()
        if WHOLE_SWEEP not in self._parents:
            tags = {"kind": "sweep", "model": self.spec.model.source, fields.NOTE: f"`{self.command}`"}
            run_id, begin = self._create(self.spec.name, tags, None, self._first_begin())
            self._parents[WHOLE_SWEEP] = Parent(run_id, begin)
        return self._parents[WHOLE_SWEEP]

    def group(self, task: str, method: str) -> Parent:
        """Return the parent of all runs of a task and a method, created if it is new."""
        self._list_if_unsure()
        if (task, method) not in self._parents:
            tags, above = fields.group_tags(task, method, self.spec.model.source), self.sweep().id
            run_id, begin = self._create(f"{method} · {task}", tags, above, self._first_begin((task, method)))
            self._parents[task, method] = Parent(run_id, begin, above)
        return self._parents[task, method]

    def has_group(self, task: str, method: str) -> bool:
        """Tell whether a task and a method have a parent."""
        return (task, method) in self._parents

    def run(self, run: PlannedRun) -> Known:
        """Return the run in MLflow, created with its parents if it is new."""
        self._list_if_unsure()
        if run.key not in self._runs:
            group = _group_of(run)
            parent = self.group(*group).id
            _, begun = self._begins.get(run.key, (group, None))
            run_id, begin = self._create(fields.title(run), fields.tags(run, self.command), parent, begun)
            self._runs[run.key] = Known(run_id, group, parent, begin, step=NO_STEP)
            self._begins.pop(run.key, None)
        return self._runs[run.key]

    def known(self, key: str) -> Known | None:
        """Return the run with this key without asking MLflow; None if MLflow had no such run when it was listed."""
        return self._runs.get(key)

    def note_begin(self, run: PlannedRun, begin: int) -> None:
        """Note the begin of a run that MLflow lacks, because parents begin with the earliest of their runs."""
        self._begins[run.key] = (_group_of(run), begin)

    def last_end(self, group: tuple[str, str] | None = None) -> int | None:
        """Return when the last run of a group, or of the sweep, ended (ms); None where there is no run."""
        runs = [known for known in self._runs.values() if group in (None, known.group)]
        return max((known.end or known.begin for known in runs), default=None)

    def _first_begin(self, group: tuple[str, str] | None = None) -> int | None:
        begins = [(known.group, known.begin) for known in self._runs.values()] + list(self._begins.values())
        return min((begin for of, begin in begins if group in (None, of)), default=None)

    def _create(self, name: str, tags: Mapping[str, str], parent: str | None, begin: int | None) -> tuple[str, int]:
        """Create a run that began at ``begin`` (None: now); return its id and its begin."""
        nested = {PARENT: parent} if parent else {}
        all_tags = {"sweep": self.spec.name, "mlflow.source.name": self.command, **nested, **tags}
        self._listed = False  # until the answer is there
        run = self.client.create_run(self.experiment, start_time=begin, tags=all_tags, run_name=name)
        self._listed = True
        return str(run.info.run_id), int(run.info.start_time)

    def _list_if_unsure(self) -> None:
        if not self._listed:
            self._list()

    def _list(self) -> None:
        """Ask MLflow for the runs and parents of this sweep. A run that is known already stays as it is known."""
        for run in runs_of(self.client, self.experiment, f"tags.sweep = '{self.spec.name}'"):
            tags, kind = run.data.tags, run.data.tags.get("kind")
            if kind == "run":
                self._runs.setdefault(tags["run_key"], _known(run))
            elif kind in ("sweep", "group"):
                place = WHOLE_SWEEP if kind == "sweep" else (tags["task"], tags["method"])
                numbers = dict(run.data.metrics)
                self._parents[place] = Parent(run.info.run_id, int(run.info.start_time), tags.get(PARENT), numbers)
        self._listed = True

    def _mend_tree(self) -> None:
        """Give children their new parent where their own was deleted, whichever driver has made the children."""
        for place, parent in list(self._parents.items()):
            if place != WHOLE_SWEEP and parent.above != self.sweep().id:
                self.client.set_tag(parent.id, PARENT, self.sweep().id)
                parent.above = self.sweep().id
        for known in self._runs.values():
            group = self.group(*known.group).id
            if known.parent != group:
                self.client.set_tag(known.id, PARENT, group)
                known.parent = group


def _group_of(run: PlannedRun) -> tuple[str, str]:
    return run.spec.task.name, run.spec.method.label


def _known(run: Any) -> Known:
    """Return the `Known` of a run that MLflow has listed."""
    tags, info = run.data.tags, run.info
    group, state = (tags["task"], tags["method"]), _state(tags, info.status)
    end = None if state == "open" else info.end_time  # a run that was taken up has the end of before in MLflow
    return Known(info.run_id, group, tags.get(PARENT), int(info.start_time), end, state)


def _state(tags: Mapping[str, str], status: str) -> State:
    """Return the state of a listed run: a run has ended where the tag ``status`` and MLflow's own status agree.

    The tag is sent before MLflow's status, so a run whose driver was killed between the two is open. An error is taken
    away before MLflow's status is set, so a run with an error has not ended since the error.
    """
    if "error" in tags:
        return "failed"
    if status == "FINISHED":
        return "ended"
    if "status" in tags and status == STATUS.get(tags["status"]):
        return "stopped" if tags["status"] == "stopped" else "ended"
    return "open"
