"""Pure: the rungs of a run, and which runs go on there: asynchronous successive halving per task and seed (ADR 11).

Runs of one task and one seed are rivals, so that a seed on which all do badly harms all alike. At a rung a run is
compared by validation accuracy with the rivals that have reached the rung so far; the best ``1 / factor`` go on,
and so does a run whose score ties with the last run that goes on.
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
    """The rule: ``first`` is the first rung, in steps or as a share of a run; the next is ``factor`` times as late."""

    first: int | float
    factor: int

    @classmethod
    def of(cls, search: Asha) -> Halving:
        """Return the rule that a recipe asks for."""
        return cls(search.rung, search.factor)

    @property
    def rule(self) -> str:
        """The rule in words: a verdict holds under the rule by which it was made, and under no other rule."""
        return f"asha: first rung {self.first!r}, factor {self.factor}"

    def steps(self, total: int) -> tuple[int, ...]:
        """Return the optimizer steps after which a run of ``total`` steps is judged, each once and never the last."""
        share = Fraction(str(self.first))  # 0.1 is a tenth, not the float above it
        exact = share * total if isinstance(self.first, float) else share
        steps: list[int] = []
        while (step := max(1, math.floor(exact + Fraction(1, 2)))) < total:
            steps.append(step)
            exact *= self.factor
        return tuple(dict.fromkeys(steps))


def stopping_rule(search: Search) -> str | None:
    """Return the rule under which a search records its stops in run folders; None for a search that stops no run."""
    return Halving.of(search).rule if isinstance(search, Asha) else None


@dataclass(frozen=True)
class Contest:
    """The rule and, by run key, the keys of all runs that the run is compared with, its own key among them."""

    halving: Halving
    rivals: Mapping[str, tuple[str, ...]]

    def only(self, runs: Sequence[PlannedRun]) -> Contest:
        """Return the part of the contest that the trainer of these runs needs."""
        return Contest(self.halving, {run.key: self.rivals[run.key] for run in runs})


def field_of(run: PlannedRun) -> tuple[str, int]:
    """Return the field that a run competes in: its task and its seed."""
    return run.spec.task.name, run.spec.seed


def kept_together(search: Search) -> Callable[[PlannedRun], tuple[str, int]] | None:
    """Return the ``field_of`` of `plan.pack_runs`, which keeps rivals in one pack; None if a search has no rivals."""
    return field_of if isinstance(search, Asha) else None


def contest(search: Search, planned: Sequence[PlannedRun]) -> Contest | None:
    """Return the contest of a sweep's runs; None for a search that stops no run."""
    if not isinstance(search, Asha):
        return None
    groups: dict[tuple[str, int], list[str]] = {}
    for run in planned:
        groups.setdefault(field_of(run), []).append(run.key)
    keys = {field: tuple(rivals) for field, rivals in groups.items()}
    return Contest(Halving.of(search), {run.key: keys[field_of(run)] for run in planned})


def rung_lines(search: Search, totals: Mapping[str, int]) -> list[str]:
    """Return a line per task that says after which steps its runs are judged; none if the search stops no run.

    ``totals`` are the optimizer steps of a run by task. InputError where no run of any task would be judged.
    """
    if not isinstance(search, Asha):
        return []
    halving = Halving.of(search)
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
    """Return the runs so that rivals follow one another, and so meet in a pack and are judged at once.

    Rivals are in the order of their keys, which are hashes, so the order is random. In the recipe's order, rates often
    rise to the best rate: then each run would be the best so far, and all would go on.
    """
    tasks, seeds = (
        {name: number for number, name in enumerate(dict.fromkeys(names))}
        for names in ([run.spec.task.name for run in planned], [run.spec.seed for run in planned])
    )
    return sorted(planned, key=lambda run: (tasks[run.spec.task.name], seeds[run.spec.seed], run.key))


@dataclass(frozen=True)
class Verdict:
    """The decision on a run at a rung.

    Of the ``reached`` runs that had come to the rung, the run among them, the best ``kept`` go on, which have
    a score of ``cut`` or more. ``score`` and ``cut`` are shares of the validation items.
    """

    score: float
    reached: int
    kept: int
    cut: float
    goes_on: bool


def judge(score: float, scores: Collection[float | None], factor: int) -> Verdict:
    """Return the verdict on a run; ``scores`` are the scores of all runs at its rung so far, its own among them.

    None stands for a run that diverged before the rung: it counts as beaten. The number of runs that go on is rounded
    up, so the first run always goes on.
    """
    known = sorted((known for known in scores if known is not None), reverse=True)
    kept = math.ceil(len(scores) / factor)
    cut = known[min(kept, len(known)) - 1]
    return Verdict(score, len(scores), kept, cut, score >= cut)


def reason(verdict: Verdict, step: int, total: int) -> str:
    """Return why a run was stopped, as a sentence for its row of results."""
    best = "the best" if verdict.kept == 1 else f"among the best {verdict.kept}"
    return (
        f"Stopped at step {step} of {total}: {percent(verdict.score)} on validation is not {best} of "
        f"{count(verdict.reached, 'run')} of its task and seed that had come so far (the cut was "
        f"{percent(verdict.cut)})."
    )
