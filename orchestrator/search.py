"""Pure: which of the planned runs to train now, and which the search has decided not to train.

A driver trains what ``next_runs`` returns until it returns nothing: a grid gives everything at once, and so does asha,
whose runs are stopped where they train; a race gives one rung of seeds after another. Nothing is remembered in between,
so a sweep that was killed goes on from its results alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from orchestrator.halving import together
from orchestrator.plan import PlannedRun
from orchestrator.racing import DECIDED, Decision, Dropped, Race, decide
from orchestrator.seeds import drawn
from orchestrator.spec import SweepSpec
from orchestrator.wording import count, listed, points

Results = Mapping[str, float | None]
"""By run key: the last validation accuracy of a run that has ended, None of a diverged one; other runs are absent."""


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
) -> dict[str, Decision]:
    """Return where the race of each task stands, if it is one. All races together may err with ``search.alpha``."""
    if spec.search.kind != "racing":
        return {}
    alpha, resolve = spec.search.alpha / len(spec.tasks), spec.search.resolve / 100
    found: dict[str, Decision] = {}
    for task in spec.tasks:
        runs = [run for run in planned if run.spec.task.name == task.name]
        settings = tuple(dict.fromkeys(setting_of(run) for run in runs))
        race = Race(settings, tuple(seed for seed, _ in drawn(spec.seeds)), alpha, spec.search.first, resolve)
        scores = {_place(run): results[run.key] for run in runs if run.key in results}
        found[task.name] = decide(race, scores, {_place(run) for run in runs if run.key in failed})
    return found


def spared(
    spec: SweepSpec, planned: Sequence[PlannedRun], results: Results, failed: Collection[str] = ()
) -> dict[str, str]:
    """Return why a run is not trained (key -> reason), for each that the race has made needless."""
    races = decisions(spec, planned, results, failed)
    found: dict[str, str] = {}
    for run in planned if races else ():
        race = races[run.spec.task.name]
        if run.key in results or run.key in failed:
            continue
        if setting_of(run) in race.dropped:
            found[run.key] = _why(race.dropped[setting_of(run)])
        elif race.outcome in DECIDED:
            found[run.key] = f"Not needed: {_ending(race)}."
    return found


def setting_of(run: PlannedRun) -> str:
    """Return the name of what competes: a method with its settings, at a rate."""
    return f"{run.spec.method.label}, lr {run.spec.lr!r}"


def told(races: Mapping[str, Decision]) -> Iterator[str]:
    """Yield a line for each race that has had a look: who leads, who is out, how it ended."""
    for task, race in races.items():
        if not race.looked:
            continue
        entered = len(race.active) + len(race.dropped)
        line = f"race of {task}: {len(race.active)} of {count(entered, 'setting')} in after {_seeds(race.looked)}"
        line += f"; {race.leader} leads"
        now = [setting for setting, out in race.dropped.items() if out.seeds == race.looked]
        line += f"; dropped {listed(now)}" if now else ""
        line += f"; {listed(race.waiting)} waits for a run that failed" if race.waiting else ""
        yield line + (f"; over: {_ending(race)}" if race.outcome in DECIDED else "")


def _place(run: PlannedRun) -> tuple[str, int]:
    return setting_of(run), run.spec.seed


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
