"""Pure: the runs and parents of a sweep as MLflow lists them, and which of two runs with one run key is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.plan.runs import PlannedRun

STATUS = {"committed": "FINISHED", "diverged": "FAILED", "stopped": "KILLED"}  # MLflow's word for how a run ended
RUNNING, KILLED, FAILED = "RUNNING", "KILLED", "FAILED"
PARENT = "mlflow.parentRunId"  # the tag by which MLflow's page makes a tree
SWEEP_ID = "sweep_id"  # the tag with the word of the sweep's folder
NO_STEP = -1  # the last step of a run that has none yet
WHOLE_SWEEP = ()  # the sweep's own run among the parents; a group is (task, method)

Group = tuple[str, str]
Place = tuple[()] | tuple[str] | Group
"""What a run in MLflow stands for: the whole sweep, a run key alone, or a task and a method."""
State = Literal["open", "ended", "stopped", "failed", "interrupted"]
"""What MLflow shows of a run: to be continued; ended for good; stopped by a search's rule; not trained, with an error;
broken off with its driver.

All but "ended" may be taken up again: by a search with another rule, by another try, by the next driver.
"""


@dataclass
class Known:
    """A run in MLflow, and how much of the run MLflow has.

    ``begin`` and ``end`` are in milliseconds since 1970. MLflow never changes ``begin``. ``end`` is the time of the
    last step that was sent, or the end that MLflow shows; None where this driver knows neither. ``step`` is the last
    step that MLflow has, or None where MLflow has to be asked: for a run of an earlier driver, and when the answer to a
    request was lost on its way. ``described`` tells whether this driver has sent the run's parameters. ``status`` is
    MLflow's status as far as this driver knows, and ``last_status`` the status of a run that has ended.
    """

    id: str
    group: Group
    parent: str | None
    begin: int
    end: int | None = None
    state: State = "open"
    step: int | None = None
    described: bool = False
    status: str = RUNNING
    last_status: str | None = None


@dataclass
class Parent:
    """The sweep's own run, or a group: the parent of all runs of a task and a method; ``above`` is a group's parent."""

    id: str
    begin: int
    above: str | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    status: str = RUNNING


def group_of(run: PlannedRun) -> Group:
    """Return the group of a run: its task and its method's label."""
    return run.spec.task.name, run.spec.method.label


def place_of(tags: Mapping[str, str]) -> Place | None:
    """Return the run, group or sweep that a listed MLflow run shows; None for an MLflow run of another program."""
    match tags.get("kind"):
        case "sweep":
            return WHOLE_SWEEP
        case "group":
            return tags["task"], tags["method"]
        case "run":
            return (tags["run_key"],)
    return None


def one_each(runs: Iterable[Any], known: Collection[str]) -> tuple[dict[Place, Any], list[Any]]:
    """Return the listed run of each place, and the runs that double another.

    A run is doubled where the server was slow: it created the run after the driver had given the request up. Kept is
    the run whose id is ``known`` to this driver, else the run with most numbers, else the first by id.
    """
    kept: dict[Place, Any] = {}
    doubles = []
    for run in sorted(runs, key=lambda run: (run.info.run_id not in known, -len(run.data.metrics), run.info.run_id)):
        place = place_of(run.data.tags)
        if place in kept:
            doubles.append(run)
        elif place is not None:
            kept[place] = run
    return kept, doubles


def known_of(run: Any) -> Known:
    """Return the `Known` of a run that MLflow has listed."""
    tags, info = run.data.tags, run.info
    state = _state(tags, info.status)
    end = None if state == "open" else info.end_time  # a run that was taken up has the end of before in MLflow
    known = Known(info.run_id, (tags["task"], tags["method"]), tags.get(PARENT), int(info.start_time), end, state)
    known.status, known.last_status = info.status, FAILED if "error" in tags else STATUS.get(tags.get("status", ""))
    return known


def state_of(status: str) -> State:
    """Return the state of a run that has ended with this status of MLflow's."""
    return "stopped" if status == KILLED else "ended"


def parent_of(run: Any) -> Parent:
    """Return the `Parent` of a sweep or a group that MLflow has listed."""
    tags, info = run.data.tags, run.info
    return Parent(info.run_id, int(info.start_time), tags.get(PARENT), dict(run.data.metrics), info.status)


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
        return state_of(status)
    return "interrupted" if status == KILLED else "open"
