"""A row per cell: its status tonight, for how many nights in a row, its difference to the baseline, and its flips."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.statistics.estimate import Estimate, lower_p
from orchestrator.statistics.significance import holm
from orchestrator.statistics.thresholds import SIGNIFICANT
from orchestrator.verdict.bytes import series_of
from orchestrator.verdict.confirmation import Weighed
from orchestrator.verdict.night import Cell, Night
from orchestrator.verdict.scores import Array
from orchestrator.verdict.verdict import Bytes, Candidate, CellBaseline, CellStatus, CellVerdict, Flip

MOST_FLIPS = 20
MOST_BROKEN = 60
"""So many nights in a row may be broken, and tonight still knows which runs it should have."""
BAD: Collection[CellStatus] = ("worse", "suspected", "broken", "never_passed")
"""The statuses with a first bad night."""


@dataclass(frozen=True)
class Findings:
    """What the night found of its cells: the nights before it, the weighing, and which cells are what.

    ``weighed`` is None if there is nothing to compare with. ``named`` have the status ``naming`` (worse or better).
    ``since`` is the first bad night of a loss.
    """

    history: Sequence[Night]
    tonight: Night
    weighed: Weighed | None = None
    candidate: Candidate | None = None
    named: Collection[Cell] = ()
    naming: CellStatus = "worse"
    since: str = ""


def all_cells(history: Sequence[Night], tonight: Night) -> list[Cell]:
    """Return the cells of tonight, and those of the last night with the same settings: one that is gone is missing."""
    last = _last_alike(history, tonight)
    cells = {run.cell for run in tonight.runs}
    return sorted(cells if last is None else cells | {run.cell for run in last.runs} | set(last.marks))


def failed_cells(history: Sequence[Night], tonight: Night) -> list[Cell]:
    """Return the cells of which a run has no result or is missing: equal settings have equal numbers of runs."""
    last = _last_alike(history, tonight)
    results, tried = _counts(tonight, with_result=True), _counts(tonight, with_result=False)
    wanted = max([*tried.values(), *(_counts(last, with_result=False).values() if last else ())], default=0)
    return [cell for cell in all_cells(history, tonight) if results.get(cell, 0) < wanted]


def _last_alike(history: Sequence[Night], tonight: Night) -> Night | None:
    """Return the last whole night with tonight's settings, or else the last one of any status."""
    alike = [night for night in history[-MOST_BROKEN:] if night.world.settings == tonight.world.settings]
    return next((night for night in reversed(alike) if night.status != "incomplete"), alike[-1] if alike else None)


def never_passed(history: Sequence[Night], cell: Cell) -> bool:
    """Return whether the cell has no result on any earlier night."""
    return not any(cell in night.fixed or cell in night.fresh for night in history)


def cell_verdicts(findings: Findings) -> tuple[CellVerdict, ...]:
    """Return the verdict of every cell."""
    p_values = _corrected(findings.weighed)
    failed = set(failed_cells(findings.history, findings.tonight))
    return tuple(
        _verdict(findings, cell, cell in failed, p_values) for cell in all_cells(findings.history, findings.tonight)
    )


def _verdict(findings: Findings, cell: Cell, failed: bool, p_values: Mapping[Cell, float]) -> CellVerdict:
    weighed, estimate = findings.weighed, _estimate(findings.weighed, cell)
    status = _status(findings, cell, failed, p_values)
    row, first = _streak(findings.history, findings.tonight.name, cell, status)
    shares = _shares(weighed, cell) if weighed and not failed else None
    flips = _flips(*shares) if shares else ()
    seconds = _seconds(findings.tonight, cell)
    return CellVerdict(
        task=cell[0],
        method=cell[1],
        status=status,
        accuracy=_accuracy(findings.tonight, cell),
        baseline=_baseline(weighed, cell),
        difference=None if estimate is None or failed else estimate.mean,
        interval=None if estimate is None or failed else estimate.interval(),
        p=None if failed else p_values.get(cell),
        nights_in_row=row,
        first_bad=_first_bad(findings, status, first),
        bytes=weighed.bytes.get(cell, Bytes(None)) if weighed else Bytes(None),
        flips=flips[:MOST_FLIPS],
        flips_lost=sum(flip.after < flip.before for flip in flips),
        flips_won=sum(flip.after > flip.before for flip in flips),
        seconds=seconds,
        slower=_slower(findings, cell, seconds),
    )


def _status(findings: Findings, cell: Cell, failed: bool, p_values: Mapping[Cell, float]) -> CellStatus:
    unseen, weighed, candidate = never_passed(findings.history, cell), findings.weighed, findings.candidate
    if failed:
        return "never_passed" if unseen and _accuracy(findings.tonight, cell) is None else "broken"
    if unseen:
        return "new"
    if weighed is None or _estimate(weighed, cell) is None:
        return "too_few"
    if cell in findings.named:
        return findings.naming
    if candidate is not None and (cell in candidate.alone or _leans(candidate, cell, p_values)):
        return "suspected"
    return "unchanged" if weighed.bytes[cell].equal else "moved"


def _leans(candidate: Candidate, cell: Cell, p_values: Mapping[Cell, float]) -> bool:
    """Return whether a cell that is suspected together with others points the same way by itself.

    Of a gain no cell is suspected.
    """
    return candidate.direction == "worse" and candidate.joint and p_values.get(cell, 1.0) <= SIGNIFICANT


def _first_bad(findings: Findings, status: CellStatus, first: str) -> str | None:
    if status not in BAD:
        return None
    return min(first, findings.since) if status == "worse" and findings.since else first


def _streak(history: Sequence[Night], tonight: str, cell: Cell, status: CellStatus) -> tuple[int, str]:
    """Return for how many nights in a row the cell has the status, and the first of them.

    Nights that were broken off before they were judged are not counted.
    """
    row, first = 1, tonight
    for night in reversed(history):
        if not night.marks:
            continue
        if night.marks.get(cell) != status:
            break
        row, first = row + 1, night.name
    return row, first


def _corrected(weighed: Weighed | None) -> dict[Cell, float]:
    """Return the one-sided p of a loss of every cell that was looked at, with Holm's correction over cells."""
    if weighed is None:
        return {}
    looked = [
        (c, float(s)) for c, s in zip(weighed.scores.cells, weighed.tonight.scores, strict=False) if np.isfinite(s)
    ]
    corrected = holm([lower_p(score) for _, score in looked])
    return {cell: p for (cell, _), p in zip(looked, corrected, strict=True) if p is not None}


def _estimate(weighed: Weighed | None, cell: Cell) -> Estimate | None:
    if weighed is None or cell not in weighed.scores.cells:
        return None
    return weighed.tonight.estimates[weighed.scores.cells.index(cell)]


def _accuracy(night: Night, cell: Cell) -> float | None:
    values = [run.accuracy for run in night.fixed.get(cell, {}).values()] + list(night.fresh.get(cell, ()))
    return float(np.mean(values)) if values else None


def _baseline(weighed: Weighed | None, cell: Cell) -> CellBaseline:
    if weighed is None or cell not in weighed.scores.cells:
        return CellBaseline(0, None, None)
    index = weighed.scores.cells.index(cell)
    fresh: Array = weighed.scores.fresh_CNF[index, :-1]
    values = np.concatenate([fresh[np.isfinite(fresh)], weighed.scores.fixed[index]])
    nights = int(weighed.scores.nights_C[index])
    if len(values) < 2:
        return CellBaseline(nights, float(values.mean()) if len(values) else None, None)
    of_mean = Estimate(float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5), float(len(values) - 1))
    return CellBaseline(nights, of_mean.mean, of_mean.interval())


def _shares(weighed: Weighed, cell: Cell) -> tuple[Array, Array] | None:
    """Return per item the share of fixed runs that were right in the baseline, and tonight; None if bytes are equal."""
    if cell not in weighed.scores.cells or weighed.bytes[cell].equal:
        return None
    pairs = weighed.scores.before_and_now[weighed.scores.cells.index(cell)]
    if not pairs:
        return None
    befores, afters = zip(*pairs, strict=True)
    return np.mean(befores, axis=0), np.mean(afters, axis=0)


def _flips(before_I: Array, after_I: Array) -> tuple[Flip, ...]:
    """Return the items that most runs answered right on one side only, losses first, then the largest change."""
    flipped = np.flatnonzero((before_I >= 0.5) != (after_I >= 0.5))
    order = sorted(flipped.tolist(), key=lambda i: (after_I[i] - before_I[i], i))
    return tuple(Flip(i, float(before_I[i]), float(after_I[i])) for i in order)


def _seconds(night: Night, cell: Cell) -> float | None:
    values = [run.seconds for run in night.runs if run.cell == cell and run.right and run.seconds is not None]
    return statistics.median(values) if values else None


def _slower(findings: Findings, cell: Cell, seconds: float | None) -> float | None:
    """Return tonight's seconds over the median of the earlier nights of the same series; None without any."""
    if seconds is None:
        return None
    series = series_of(findings.tonight.world)
    nights = [night for night in findings.history if night.status != "incomplete" and series_of(night.world) == series]
    earlier = [value for value in (_seconds(night, cell) for night in nights) if value]
    return seconds / statistics.median(earlier) if earlier else None


def _counts(night: Night, with_result: bool) -> dict[Cell, int]:
    counts: dict[Cell, int] = {}
    for run in night.runs:
        counts[run.cell] = counts.get(run.cell, 0) + (bool(run.right) or not with_result)
    return counts
