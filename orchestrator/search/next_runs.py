"""Pure: which of the planned runs to train in the next round, and which the search has decided not to train.

A driver trains the runs of ``next_runs``, again and again, until there are none. A grid and asha ask for all runs in
one round.
A race asks for one round of seeds after another, TPE for one batch of settings after another. No state is kept between
rounds, so a sweep that was killed goes on from its results alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from orchestrator.plan.runs import PlannedRun
from orchestrator.recipe.search import Asha, Grid, Racing, Search, Tpe
from orchestrator.recipe.seeds import drawn
from orchestrator.recipe.spec import SweepSpec
from orchestrator.search.at_once import asha_standing, grid_standing
from orchestrator.search.racing import race_standing
from orchestrator.search.standing import Results, Standing, TaskSoFar, run_name, setting_of
from orchestrator.search.tpe import tpe_standing


def standing_of(search: Search, task: TaskSoFar) -> Standing:
    """Return where the search of one task stands, by the rule that the recipe asks for."""
    match search:
        case Grid():
            return grid_standing(task)
        case Racing():
            return race_standing(search, task)
        case Tpe():
            return tpe_standing(search, task)
        case Asha():
            return asha_standing(task)


def decisions(
    spec: SweepSpec, planned: Sequence[PlannedRun], results: Results, failed: Collection[str] = ()
) -> dict[str, Standing]:
    """Return where the search of each task stands; ``failed`` are the keys of runs that are not tried again."""
    seeds = tuple(seed for seed, _ in drawn(spec.seeds))
    runs: dict[str, list[PlannedRun]] = {task.name: [] for task in spec.tasks}
    for run in planned:
        runs[run.spec.task.name].append(run)
    standings: dict[str, Standing] = {}
    for task, own in runs.items():
        scores = {run_name(run): results[run.key] for run in own if run.key in results}
        lost = {run_name(run) for run in own if run.key in failed}
        standings[task] = standing_of(spec.search, TaskSoFar(task, own, seeds, len(runs), scores, lost))
    return standings


def next_runs(
    spec: SweepSpec, planned: Sequence[PlannedRun], results: Results, failed: Collection[str] = ()
) -> list[PlannedRun]:
    """Return the runs to train now, in their planned order; no run if the search is over.

    Runs whose keys are in ``failed`` are not tried again.
    """
    left = [run for run in planned if run.key not in results and run.key not in failed]
    if not left:
        return []
    standings = decisions(spec, planned, results, failed)
    wanted = [(task, name) for task, standing in standings.items() for name in standing.next]
    order = {name: number for number, name in enumerate(wanted)}
    names = {run.key: (run.spec.task.name, run_name(run)) for run in left}
    return sorted((run for run in left if names[run.key] in order), key=lambda run: order[names[run.key]])


def why_not_trained(
    spec: SweepSpec, planned: Sequence[PlannedRun], results: Results, failed: Collection[str] = ()
) -> dict[str, str]:
    """Return why a run is not trained (key -> reason), for each run that the search has made needless."""
    standings = decisions(spec, planned, results, failed)
    open_runs = (run for run in planned if run.key not in results and run.key not in failed)
    reasons = {run.key: standings[run.spec.task.name].why_not(setting_of(run)) for run in open_runs}
    return {key: reason for key, reason in reasons.items() if reason}


def lines(standings: Mapping[str, Standing]) -> Iterator[str]:
    """Yield a line per task whose search has results: the leader, the dropped or the next settings, how it ended."""
    for task, standing in standings.items():
        if line := standing.line(task):
            yield line
