"""Pure: the rungs of a run, and who goes on there: asynchronous successive halving within one task and seed (ADR 11).

Runs of one task and one seed are rivals, so that a seed on which all do badly harms all alike. At a rung a run is
compared with the rivals that have been there so far, by validation accuracy; one in ``factor`` goes on, ties too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from orchestrator.errors import InputError
from orchestrator.plan.runs import PlannedRun
from orchestrator.recipe.search import Asha, Search
from orchestrator.wording import count, listed, percent


@dataclass(frozen=True)
class Halving:
    """The rule: ``first`` is the first rung, in steps or as a share of a run; the next is ``factor`` times as far."""

    first: int | float
    factor: int

    @classmethod
    def of(cls, search: Search) -> Halving | None:
        """Return the rule of a search; None where it stops no run."""
        return cls(search.rung, search.factor) if isinstance(search, Asha) else None

    @property
    def rule(self) -> str:
        """The rule in words: a verdict holds under the rule by which it was made, and under no other."""
        return f"asha: first rung {self.first!r}, factor {self.factor}"

    def steps(self, total: int) -> tuple[int, ...]:
        """Return the optimizer steps after which a run of ``total`` steps is judged, each once and never the last."""
        share = Fraction(str(self.first))  # 0.1 is a tenth, not the float above it
        exact = share * total if isinstance(self.first, float) else share
        found: list[int] = []
        while (step := max(1, math.floor(exact + Fraction(1, 2)))) < total:
            found.append(step)
            exact *= self.factor
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Contest:
    """The rule and, by run key, the keys of all runs that a run is compared with, its own among them."""

    halving: Halving
    rivals: Mapping[str, tuple[str, ...]]

    def only(self, runs: Sequence[PlannedRun]) -> Contest:
        """Return what the trainer of these runs needs."""
        return Contest(self.halving, {run.key: self.rivals[run.key] for run in runs})


def field_of(run: PlannedRun) -> tuple[str, int]:
    """Return the field that a run competes in: its task and its seed."""
    return run.spec.task.name, run.spec.seed


def kept_together(search: Search) -> Callable[[PlannedRun], tuple[str, int]] | None:
    """Return what tells `plan.pack_runs` which runs must share a pack: rivals, so that each meets all the others."""
    return None if Halving.of(search) is None else field_of


def contest(search: Search, planned: Sequence[PlannedRun]) -> Contest | None:
    """Return the contest of a sweep's runs; None where its search stops none."""
    halving = Halving.of(search)
    if halving is None:
        return None
    groups: dict[tuple[str, int], list[str]] = {}
    for run in planned:
        groups.setdefault(field_of(run), []).append(run.key)
    keys = {group: tuple(found) for group, found in groups.items()}
    return Contest(halving, {run.key: keys[field_of(run)] for run in planned})


def rungs_told(search: Search, totals: Mapping[str, int]) -> list[str]:
    """Return a line for each task: where its runs, of so many steps, are judged. InputError where none would be."""
    halving = Halving.of(search)
    if halving is None:
        return []
    rungs = {task: [str(step) for step in halving.steps(total)] for task, total in totals.items()}
    if not any(rungs.values()):
        lengths = listed([f"{total} on {task}" for task, total in totals.items()])
        raise InputError(
            f"search.rung={halving.first} is no step before the last of a run, which has {lengths}: give fewer steps, "
            "a share, or search.kind=grid."
        )
    return [
        f"runs on {task}: "
        + (f"judged after step {listed(steps)} of {totals[task]}" if steps else "too short to judge")
        for task, steps in rungs.items()
    ]


def together(planned: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Return the runs so that rivals stand together, and so meet in a pack and are judged at once.

    Among rivals the order is that of their keys, which is as good as drawn: in the recipe's order, rates that rise to
    the best would each be the best so far, and all go on.
    """
    tasks, seeds = (
        {name: place for place, name in enumerate(dict.fromkeys(names))}
        for names in ([run.spec.task.name for run in planned], [run.spec.seed for run in planned])
    )
    return sorted(planned, key=lambda run: (tasks[run.spec.task.name], seeds[run.spec.seed], run.key))


@dataclass(frozen=True)
class Verdict:
    """What was decided on a run: of ``reached`` runs, it among them, the best ``places`` go on, from ``cut`` upwards.

    ``score`` and ``cut`` are shares of the validation items.
    """

    score: float
    reached: int
    places: int
    cut: float
    goes_on: bool


def judge(score: float, scores: Collection[float | None], factor: int) -> Verdict:
    """Return the verdict on a run; ``scores`` are of all that have reached its rung, its own among them.

    None is a run that diverged on its way there: it counts as one that is beaten. Places are rounded up, so the first
    always goes on.
    """
    known = sorted((one for one in scores if one is not None), reverse=True)
    places = math.ceil(len(scores) / factor)
    cut = known[min(places, len(known)) - 1]
    return Verdict(score, len(scores), places, cut, score >= cut)


def reason(verdict: Verdict, step: int, total: int) -> str:
    """Return why a run was stopped, for people."""
    best = "the best" if verdict.places == 1 else f"among the best {verdict.places}"
    return (
        f"Stopped at step {step} of {total}: {percent(verdict.score)} on validation is not {best} of "
        f"{count(verdict.reached, 'run')} of its task and seed that had come so far (the cut was "
        f"{percent(verdict.cut)})."
    )
