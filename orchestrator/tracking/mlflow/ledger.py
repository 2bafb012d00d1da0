"""The runs and parents of a sweep in MLflow: listed once, and created if they are missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.plan.runs import PlannedRun
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.identity import Identity
from orchestrator.tracking.mlflow import fields
from orchestrator.tracking.mlflow.entries import (
    NO_STEP,
    PARENT,
    RUNNING,
    SWEEP_ID,
    WHOLE_SWEEP,
    Group,
    Known,
    Parent,
    Place,
    group_of,
    known_of,
    one_each,
    parent_of,
    place_of,
)
from orchestrator.tracking.mlflow.experiment import runs_of
from orchestrator.tracking.mlflow.source import source_tags


class Ledger:
    """Knows which runs of a sweep MLflow has, and creates the missing ones.

    MLflow is asked once, by `resume`, at the end by `look_again`, and when the answer to a creation was lost on its
    way, because the run may have been created. Otherwise MLflow is not asked. The tags ``sweep_id``, ``kind``,
    ``run_key``, ``task`` and ``method`` are how a second driver finds the runs that the first has created, so that no
    run is shown twice.
    """

    def __init__(self, client: Any, experiment: str, sweep: SweepSpec, command: str, identity: Identity) -> None:
        self.client, self.experiment, self.spec, self.command = client, experiment, sweep, command
        self.identity = identity
        self._runs: dict[str, Known] = {}
        self._parents: dict[tuple[()] | Group, Parent] = {}
        self._begins: dict[str, tuple[Group, int]] = {}  # (group, ms) of runs that MLflow lacks
        self._listed = False  # whether ``_runs`` and ``_parents`` hold all that MLflow has of this sweep

    def resume(self) -> None:
        """List runs and parents, take the sweep's own run up again, and replace deleted parents.

        A sweep that MLflow does not have is created with its first run, and begins with this run. The experiment gets
        the sweep's name as a tag, so that a tracker which refuses to be written to is noticed before training.
        """
        self.look_again()
        if WHOLE_SWEEP in self._parents:
            self.client.update_run(self._parents[WHOLE_SWEEP].id, status=RUNNING)
            self._parents[WHOLE_SWEEP].status = RUNNING
        elif not (self._parents or self._runs):
            self.client.set_experiment_tag(self.experiment, "sweep", self.spec.name)
        self._mend_tree()

    def sweep(self) -> Parent:
        """Return the sweep's own run, created if it is new."""
        self._look_if_unsure()
        if WHOLE_SWEEP not in self._parents:
            tags = {"kind": "sweep", "model": self.spec.model.source, fields.NOTE: f"`{self.command}`"}
            run_id, begin = self._create(self.spec.name, tags, None, self._first_begin())
            self._parents[WHOLE_SWEEP] = Parent(run_id, begin)
        return self._parents[WHOLE_SWEEP]

    def group(self, task: str, method: str) -> Parent:
        """Return the parent of all runs of a task and a method, created if it is new."""
        self._look_if_unsure()
        if (task, method) not in self._parents:
            tags, above = fields.group_tags(task, method, self.spec.model.source), self.sweep().id
            run_id, begin = self._create(f"{method} · {task}", tags, above, self._first_begin((task, method)))
            self._parents[task, method] = Parent(run_id, begin, above)
        return self._parents[task, method]

    def wake(self, task: str, method: str) -> Parent:
        """Show a group as running, because one of its runs is, and return it."""
        group = self.group(task, method)
        if group.status != RUNNING:
            self.client.update_run(group.id, status=RUNNING)
            group.status = RUNNING
        return group

    def has_group(self, task: str, method: str) -> bool:
        """Tell whether a task and a method have a parent."""
        return (task, method) in self._parents

    def run(self, run: PlannedRun) -> Known:
        """Return the run in MLflow, created with its parents if it is new."""
        self._look_if_unsure()
        if run.key not in self._runs:
            group = group_of(run)
            parent = self.wake(*group).id
            _, begun = self._begins.get(run.key, (group, None))
            run_id, begin = self._create(fields.title(run), fields.tags(run, self.command), parent, begun)
            self._runs[run.key] = Known(run_id, group, parent, begin, step=NO_STEP)
            self._begins.pop(run.key, None)
        return self._runs[run.key]

    def known(self, key: str) -> Known | None:
        """Return the run with this key without asking MLflow; None if MLflow had no such run when it was listed."""
        return self._runs.get(key)

    def running(self) -> list[Known]:
        """Return the runs that MLflow shows as running."""
        return [known for known in self._runs.values() if known.status == RUNNING]

    def running_groups(self) -> Iterator[tuple[Group, Parent]]:
        """Yield the groups that MLflow shows as running, each with its task and its method."""
        for place, parent in self._parents.items():
            if place and parent.status == RUNNING:
                yield place, parent

    def running_sweep(self) -> Parent | None:
        """Return the sweep's own run where MLflow shows it as running."""
        parent = self._parents.get(WHOLE_SWEEP)
        return parent if parent and parent.status == RUNNING else None

    def note_begin(self, run: PlannedRun, begin: int) -> None:
        """Note the begin of a run that MLflow lacks, because parents begin with the earliest of their runs."""
        self._begins[run.key] = (group_of(run), begin)

    def last_end(self, group: Group | None = None) -> int | None:
        """Return when the last run of a group, or of the sweep, ended (ms); None where there is no run."""
        runs = [known for known in self._runs.values() if group in (None, known.group)]
        return max((known.end or known.begin for known in runs), default=None)

    def look_again(self) -> None:
        """Ask MLflow for the runs and parents of this sweep, and delete doubles of them.

        A run that is known already stays as it is known, but for its status, which an old request may have changed.
        """
        known = {run.id for run in self._runs.values()} | {parent.id for parent in self._parents.values()}
        listed, doubles = one_each(self._listing(f"tags.{SWEEP_ID} = '{self.identity.word}'"), known)
        for run in doubles:
            self.client.delete_run(run.info.run_id)
        if self.identity.adopts:
            listed |= self._adopted(listed)
        for place, run in listed.items():
            match place:
                case (key,):
                    self._runs.setdefault(key, known_of(run)).status = run.info.status
                case ():
                    self._parents[WHOLE_SWEEP] = parent_of(run)
                case (task, method):
                    self._parents[task, method] = parent_of(run)
        self._listed = True

    def _adopted(self, own: Mapping[Place, Any]) -> dict[Place, Any]:
        """Return the runs that an earlier version has shown under the sweep's name alone, and give them the word."""
        runs = [run for run in self._listing(f"tags.sweep = '{self.spec.name}'") if SWEEP_ID not in run.data.tags]
        adopted, _ = one_each((run for run in runs if place_of(run.data.tags) not in own), ())
        for run in adopted.values():
            self.client.set_tag(run.info.run_id, SWEEP_ID, self.identity.word)
        return adopted

    def _listing(self, query: str) -> list[Any]:
        return list(runs_of(self.client, self.experiment, query))

    def _first_begin(self, group: Group | None = None) -> int | None:
        begins = [(known.group, known.begin) for known in self._runs.values()] + list(self._begins.values())
        return min((begin for of, begin in begins if group in (None, of)), default=None)

    def _create(self, name: str, tags: Mapping[str, str], parent: str | None, begin: int | None) -> tuple[str, int]:
        """Create a run that began at ``begin`` (None: now); return its id and its begin."""
        nested = {PARENT: parent} if parent else {}
        own = {"sweep": self.spec.name, SWEEP_ID: self.identity.word, **source_tags(self.command)}
        self._listed = False  # until the answer is there
        run = self.client.create_run(self.experiment, start_time=begin, tags={**own, **nested, **tags}, run_name=name)
        self._listed = True
        return str(run.info.run_id), int(run.info.start_time)

    def _look_if_unsure(self) -> None:
        if not self._listed:
            self.look_again()

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
