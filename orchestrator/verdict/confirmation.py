"""A candidate, from both kinds of evidence, and whether fresh seeds that nobody has looked at confirm it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.statistics.estimate import Estimate, lower_p, two_sample
from orchestrator.statistics.significance import holm
from orchestrator.statistics.thresholds import SIGNIFICANT
from orchestrator.verdict.bytes import bytes_of, twin_of
from orchestrator.verdict.comparison import Comparison, compare
from orchestrator.verdict.night import CanaryRun, Cell, Night
from orchestrator.verdict.rules import Rules
from orchestrator.verdict.scores import Array, Scores, scores_of
from orchestrator.verdict.sequence import Sequence as AllNights
from orchestrator.verdict.sequence import follow
from orchestrator.verdict.verdict import Bytes, Candidate, Confirmed

FEWEST = 2
"""The fewest fresh seeds of a cell that confirm anything."""


@dataclass(frozen=True)
class Weighed:
    """Tonight against some nights: bytes per cell, tonight alone, all nights together (None: nothing to look at)."""

    scores: Scores
    twin: Night | None
    bytes: dict[Cell, Bytes]
    moved: NDArray[np.bool_]
    tonight: Comparison
    nights: AllNights | None

    def p(self, sign: int) -> float | None:
        """Return the p of tonight alone for a gain (1) or a loss (-1)."""
        return self.tonight.p(sign)

    def e(self, sign: int) -> float | None:
        """Return the e-value of all nights for a gain (1) or a loss (-1)."""
        return None if self.nights is None else self.nights.e(sign)


def weigh(baseline: Sequence[Night], tonight: Night) -> Weighed:
    """Weigh tonight against the nights of a baseline, the oldest first."""
    scores, twin = scores_of(baseline, tonight), twin_of(baseline, tonight)
    equality = {cell: bytes_of(twin, tonight, cell) for cell in scores.cells}
    moved = np.array([equality[cell].equal is not True for cell in scores.cells], dtype=np.bool_)
    return Weighed(scores, twin, equality, moved, compare(scores, moved), follow(scores))


def candidate_of(weighed: Weighed, sign: int, rules: Rules) -> Candidate | None:
    """Return what a confirmation has to show; None if neither evidence reaches its threshold."""
    cells, p, e = weighed.scores.cells, weighed.p(sign), weighed.e(sign)
    series: set[int] = set()
    joint = weighed.moved
    since = weighed.scores.tonight.name
    if p is not None and p <= rules.candidate_p:
        series |= {int(i) for i in np.flatnonzero(weighed.tonight.p_values(sign) <= rules.candidate_p)}
    if weighed.nights is not None and e is not None and e >= rules.candidate_e:
        shares = weighed.nights.shares(sign)
        series |= {int(shares.argmax())} | {int(i) for i in np.flatnonzero(shares >= rules.candidate_e)}
        joint = joint | weighed.scores.moved_CN.any(axis=1)
        since = [*weighed.scores.baseline, weighed.scores.tonight][weighed.nights.start(sign)].name
    if not series:
        return None
    alone = tuple(cells[i] for i in sorted(series) if i < len(cells))
    together = any(i >= len(cells) for i in series)
    trained = tuple(cell for cell, on in zip(cells, joint, strict=True) if (together and on) or cell in alone)
    return Candidate("better" if sign > 0 else "worse", trained, together, alone, since)


def missing_confirmation(candidate: Candidate, runs: Sequence[CanaryRun]) -> list[Cell]:
    """Return the cells of the candidate that have too few results among the confirmation's runs."""
    return [cell for cell in candidate.cells if sum(run.cell == cell and bool(run.right) for run in runs) < FEWEST]


def confirm(candidate: Candidate, weighed: Weighed, runs: Sequence[CanaryRun], rules: Rules) -> Confirmed:
    """Return what fresh seeds say of the candidate: each suspicion is tested at its share of ``Rules.confirm_p``.

    They are compared with all seeds of the nights before the candidate began. If the cells were suspected together, the
    cells named are those that the confirmation shows by themselves (Holm, 5 %), or else the one that it shows best.
    """
    sign = 1 if candidate.direction == "better" else -1
    fresh = _by_cell(candidate.cells, runs)
    each = {cell: _against(weighed.scores, candidate, [cell], fresh) for cell in candidate.cells}
    together = _against(weighed.scores, candidate, list(candidate.cells), fresh) if candidate.joint else None
    p_of = {cell: lower_p(-sign * one.score) if one else 1.0 for cell, one in each.items()}
    joint_p = lower_p(-sign * together.score) if together else 1.0
    suspicions = len(candidate.alone) + candidate.joint
    level = rules.confirm_p / suspicions
    named = [cell for cell in candidate.alone if p_of[cell] <= level]
    if candidate.joint and joint_p <= level:
        shown = holm([p_of[cell] for cell in candidate.cells])
        named += [cell for cell, p in zip(candidate.cells, shown, strict=True) if p is not None and p <= SIGNIFICANT]
        named = named or [min(p_of, key=p_of.__getitem__)]
    strongest = min(candidate.alone or candidate.cells, key=p_of.__getitem__)
    shown_by = together if together and (joint_p <= p_of[strongest] or not candidate.alone) else each[strongest]
    p = min(1.0, suspicions * min([joint_p if candidate.joint else 1.0, *(p_of[cell] for cell in candidate.alone)]))
    return Confirmed(
        seeds=min(len(values) for values in fresh.values()),
        p=p,
        difference=shown_by.mean if shown_by else None,
        interval=shown_by.interval() if shown_by else None,
        cells=tuple(sorted(set(named))),
        holds=bool(named),
    )


def _by_cell(cells: Sequence[Cell], runs: Sequence[CanaryRun]) -> dict[Cell, dict[int, float]]:
    return {cell: {run.seed: run.accuracy for run in runs if run.cell == cell and run.right} for cell in cells}


def _against(
    scores: Scores, candidate: Candidate, cells: Sequence[Cell], fresh: dict[Cell, dict[int, float]]
) -> Estimate | None:
    """Return the confirmation minus the baseline before the candidate began, over the mean of the cells per seed."""
    shared = set.intersection(*(set(fresh[cell]) for cell in cells))
    now = [float(np.mean([fresh[cell][seed] for cell in cells])) for seed in sorted(shared)]
    mask = np.array([cell in cells for cell in scores.cells], dtype=np.bool_)
    until = next((i for i, night in enumerate(scores.baseline) if night.name >= candidate.since), len(scores.baseline))
    before: Array = scores.fresh_CNF[mask][:, :until].mean(axis=0)
    fixed = scores.fixed_of(len(scores.cells), mask)
    floor = float(np.sqrt((scores.floor_C[mask] ** 2).sum()) / mask.sum())
    return two_sample(now, [*before[np.isfinite(before)].tolist(), *fixed], floor)
