"""Pure: which of the planned runs to train now, and which the search has decided not to train.

A driver trains what ``next_runs`` returns until it returns nothing: a grid gives everything at once, and so does asha,
whose runs are stopped where they train; a race gives one rung of seeds after another, TPE one batch of settings after
another. Nothing is remembered in between, so a sweep that was killed goes on from its results alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from orchestrator.plan.runs import PlannedRun
from orchestrator.recipe.seeds import drawn
from orchestrator.recipe.spec import SweepSpec
from orchestrator.search.halving import together
from orchestrator.search.proposals import seed_of
from orchestrator.search.racing import DECIDED, Decision, Dropped, Race, decide
from orchestrator.search.space import space_of
from orchestrator.search.standing import Results
from orchestrator.search.tpe import Search, Tried
from orchestrator.search.tpe import decide as decide_tpe
from orchestrator.wording import count, listed, percent, points

Standing = Decision | Tried
"""Where the search of a task is: of a race, or of TPE."""


def next_runs(
    spec: SweepSpec, planned: Sequence[PlannedRun], results: Results, failed: Collection[str] = ()
) -> list[PlannedRun]:
    """Return the runs to train now, in their order; none where all is done. ``failed`` (keys) are not tried again."""
    left = [run for run in planned if run.key not in results and run.key not in failed]
    if spec.search.kind == "asha":
        return together(left)
    if spec.search.kind == "grid" or not left:
        return left
    wanted = {
        (task, setting, seed)
        for task, decision in decisions(spec, planned, results, failed).items()
        for setting, seed in decision.next
    }
    return [run for run in left if (run.spec.task.name, *_place(run)) in wanted]


def decisions(
    spec: SweepSpec, planned: Sequence[PlannedRun], results: Results, failed: Collection[str] = ()
) -> dict[str, Standing]:
    """Return where each task's race or TPE stands; other kinds have none. All races may err with ``search.alpha``."""
    if spec.search.kind not in ("racing", "tpe"):
        return {}
    alpha, resolve = spec.search.alpha / len(spec.tasks), spec.search.resolve / 100
    seeds = tuple(seed for seed, _ in drawn(spec.seeds))
    found: dict[str, Standing] = {}
    for task in spec.tasks:
        runs = [run for run in planned if run.spec.task.name == task.name]
        scores = {_place(run): results[run.key] for run in runs if run.key in results}
        lost = {_place(run) for run in runs if run.key in failed}
        if spec.search.kind == "tpe":
            found[task.name] = decide_tpe(_search(spec, task.name, runs, seeds), scores, lost)
        else:
            settings = tuple(dict.fromkeys(setting_of(run) for run in runs))
            found[task.name] = decide(Race(settings, seeds, alpha, spec.search.first, resolve), scores, lost)
    return found


def _search(spec: SweepSpec, task: str, runs: Sequence[PlannedRun], seeds: tuple[int, ...]) -> Search:
    settings = {setting_of(run): (run.spec.method, run.spec.lr) for run in runs}
    trials = spec.search.trials or len(settings)
    seed = seed_of(spec.search.seed, task)
    return Search(tuple(settings), space_of(list(settings.values())), seeds, trials, spec.search.batch, seed)


def spared(
    spec: SweepSpec, planned: Sequence[PlannedRun], results: Results, failed: Collection[str] = ()
) -> dict[str, str]:
    """Return why a run is not trained (key -> reason), for each that the search has made needless."""
    standings = decisions(spec, planned, results, failed)
    found: dict[str, str] = {}
    for run in planned if standings else ():
        standing = standings[run.spec.task.name]
        if run.key in results or run.key in failed:
            continue
        setting = setting_of(run)
        why = _not_proposed(standing, setting) if isinstance(standing, Tried) else _needless(standing, setting)
        if why:
            found[run.key] = why
    return found


def setting_of(run: PlannedRun) -> str:
    """Return the name of what competes: a method with its settings, at a rate."""
    return f"{run.spec.method.label}, lr {run.spec.lr!r}"


def told(standings: Mapping[str, Standing]) -> Iterator[str]:
    """Yield a line for each search that has come to something: who leads, who is out or next, how it ended."""
    for task, standing in standings.items():
        if isinstance(standing, Tried):
            if standing.values:
                yield _tried(task, standing)
        elif standing.looked:
            yield _raced(task, standing)


def _raced(task: str, race: Decision) -> str:
    entered = len(race.active) + len(race.dropped)
    line = f"race of {task}: {len(race.active)} of {count(entered, 'setting')} in after {_seeds(race.looked)}"
    line += f"; {race.leader} leads"
    now = [setting for setting, out in race.dropped.items() if out.seeds == race.looked]
    line += f"; dropped {listed(now)}" if now else ""
    line += f"; {listed(race.waiting)} waits for a run that failed" if race.waiting else ""
    return line + (f"; over: {_ending(race)}" if race.outcome in DECIDED else "")


def _tried(task: str, search: Tried) -> str:
    line = f"search of {task}: {len(search.values)} of {search.trials} settings tried"
    line += f"; best so far {search.best[0]}, {percent(search.best[1])} on validation" if search.best else ""
    lost = [setting for setting, value in search.values.items() if value is None]
    line += f"; no value for {listed(lost)}: a run failed" if lost else ""
    return line + (f"; next {listed(search.batch)}" if search.batch else "; over")


def _place(run: PlannedRun) -> tuple[str, int]:
    return setting_of(run), run.spec.seed


def _not_proposed(search: Tried, setting: str) -> str:
    """Return why what TPE has not proposed is not trained; nothing of what it has."""
    if setting in search.values or setting in search.batch:
        return ""
    so_far = " so far" if search.batch else ""
    best = f"; the best of them is {search.best[0]}" if search.best else ""
    tried = f"TPE tried {len(search.values)} of {count(search.of, 'setting')}{best}."
    return f"Its setting was not proposed{so_far}: {tried}"


def _needless(race: Decision, setting: str) -> str:
    if setting in race.dropped:
        return _why(race.dropped[setting])
    return f"Not needed: {_ending(race)}." if race.outcome in DECIDED else ""


def _why(out: Dropped) -> str:
    gap = f"{points(out.gap.mean, 2)} points, and below {points(out.gap.high, 2)}"
    return f"Its setting was dropped after {_seeds(out.seeds)}: {gap} on validation, against {out.leader}."


def _ending(race: Decision) -> str:
    if race.outcome == "one left":
        return f"{race.active[0]} alone is left after {_seeds(race.looked)}"
    if race.outcome == "close enough":
        return f"no setting can be ahead of {race.leader} by more than search.resolve after {_seeds(race.looked)}"
    return "all seeds are spent"


def _seeds(amount: int) -> str:
    return count(amount, "seed")
