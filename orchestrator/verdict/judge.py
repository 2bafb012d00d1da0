"""A night's verdict from the nights before it: incomplete, ruler moved, same bytes, within noise, better or worse.

In this order: a night that is not whole is judged no further; if the ruler moved, no model is judged; if a loss stands,
the question is whether it still does; else tonight is weighed against the baseline, and a candidate has to be
confirmed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from orchestrator.verdict.cells import Findings, cell_verdicts, failed_cells, never_passed
from orchestrator.verdict.changed import changes
from orchestrator.verdict.confirmation import Weighed, candidate_of, confirm, missing_confirmation, weigh
from orchestrator.verdict.lines import line_of
from orchestrator.verdict.news import is_new_state
from orchestrator.verdict.night import CanaryRun, Cell, Night, Status
from orchestrator.verdict.ruler import compare_anchors, ruler_moved
from orchestrator.verdict.rules import Rules
from orchestrator.verdict.segment import Segment, names, segment_of
from orchestrator.verdict.verdict import (
    Candidate,
    CellStatus,
    CellVerdict,
    Change,
    Confirmed,
    Culprit,
    Evidence,
    Verdict,
)
from orchestrator.wording import listed

LOSS, GAIN = -1, 1


@dataclass(frozen=True)
class Case:
    """All that a verdict is made from."""

    history: Sequence[Night]
    tonight: Night
    rules: Rules
    segment: Segment
    confirmation: Sequence[CanaryRun] | None


@dataclass(frozen=True)
class Ruling:
    """What was decided; `_verdict` makes the verdict of it. ``named`` are the cells that are worse or better."""

    status: Status
    since: str | None = None
    weighed: Weighed | None = None
    candidate: Candidate | None = None
    confirmed: Confirmed | None = None
    named: Collection[Cell] = ()
    wants: bool = False
    why: str = ""


def judge(
    history: Sequence[Night],
    tonight: Night,
    rules: Rules,
    confirmation: Sequence[CanaryRun] | None = None,
    accepted: Collection[str] = (),
) -> Verdict:
    """Return the verdict of ``tonight``.

    ``history`` are the earlier nights as `judged` returned them, the oldest first. Without ``confirmation`` a verdict
    may want one (``Verdict.wants``): then train `Rules.confirm_seeds` fresh seeds of the cells that it names and judge
    again with their runs. A confirmation without enough results makes the night incomplete. ``accepted`` are names of
    bad nights whose level somebody has accepted: a baseline begins there.
    """
    case = Case(history, tonight, rules, segment_of(history, tonight.world, accepted), confirmation)
    return _verdict(case, _ruling(case))


def judged(tonight: Night, verdict: Verdict, told: bool = False) -> Night:
    """Return the night as history keeps it: with its status, since when, the statuses of its cells, and ``told``."""
    marks = tuple((cell.task, cell.method, cell.status) for cell in verdict.cells)
    return replace(tonight, status=verdict.status, since=verdict.since, cells=marks, told=told)


def is_news(history: Sequence[Night], verdict: Verdict, when: Collection[str]) -> bool:
    """Return whether people are told of the verdict: its status is one of ``when``, and no night told them already.

    A state is told once: a night of the same status and the same ``since`` that was told silences all later ones.
    """
    told = {(night.status, night.since) for night in history if night.status and night.told}
    return is_new_state((verdict.status, verdict.since), told, when)


def _ruling(case: Case) -> Ruling:
    broken = _broken(case)
    if broken:
        return Ruling("incomplete", why=broken)
    anchors = compare_anchors(case.segment.last, case.tonight, case.rules)
    moved = ruler_moved(case.segment.last, case.tonight, anchors)
    if moved:
        return Ruling("ruler_moved", since=case.tonight.name, why=moved)
    if case.segment.bad:
        return _of_standing_loss(case)
    if not case.segment.baseline:
        return Ruling("within_noise", since=case.tonight.name)
    return _of_weighing(case, weigh(case.segment.baseline, case.tonight))


def _broken(case: Case) -> str:
    """Return in words why the night is not whole; "" if it is.

    A cell that has no result on any night is shown apart and keeps no night from being whole, after its first night.
    """
    failed = failed_cells(case.history, case.tonight)
    seen = {cell for night in case.history for cell in night.marks} if failed else set()
    hopeless = [cell for cell in failed if cell in seen and never_passed(case.history, cell)]
    reasons = [case.tonight.broken] if case.tonight.broken else []
    lost = [f"{task} {method}" for task, method in failed if (task, method) not in hopeless]
    if lost:
        reasons.append(f"the canary has no result of {listed(lost)}")
    if not case.tonight.fixed and not lost:
        reasons.append("no run of the canary has a result")
    return "; ".join(reasons)


def _of_weighing(case: Case, weighed: Weighed) -> Ruling:
    """Decide on a night whose baseline stands: a loss first, then a gain, then whether bytes moved."""
    calm: Status = "within_noise" if weighed.moved.any() else "same_bytes"
    for sign in (LOSS, GAIN):
        candidate = candidate_of(weighed, sign, case.rules)
        if candidate is not None:
            return _of_candidate(case, weighed, candidate, calm)
    return Ruling(calm, weighed=weighed)


def _of_candidate(case: Case, weighed: Weighed, candidate: Candidate, calm: Status) -> Ruling:
    if case.confirmation is None:
        return Ruling(calm, weighed=weighed, candidate=candidate, wants=True)
    missing = missing_confirmation(candidate, case.confirmation)
    if missing:
        why = f"the confirmation has too few results of {listed([' '.join(cell) for cell in missing])}"
        return Ruling("incomplete", weighed=weighed, candidate=candidate, why=why)
    confirmed = confirm(candidate, weighed, case.confirmation, case.rules)
    if not confirmed.holds:
        return Ruling(calm, weighed=weighed, candidate=candidate, confirmed=confirmed)
    since = candidate.since if candidate.direction == "worse" else case.tonight.name
    return Ruling(candidate.direction, since, weighed, candidate, confirmed, confirmed.cells)


def _of_standing_loss(case: Case) -> Ruling:
    """Decide whether a confirmed loss still stands.

    Equal bytes decide at once. Else it is over only if tonight is shown to be better than the bad nights and is not
    shown to be worse than the baseline; and it can have become worse still, which is a new candidate.
    """
    bad, baseline, tonight = case.segment.bad, case.segment.baseline, case.tonight
    against = weigh(baseline, tonight) if baseline else None
    named = [cell for cell, status in bad[-1].marks.items() if status == "worse"]
    stands = Ruling("worse", bad[0].since or bad[0].name, against, named=named)
    if any(night.digests == tonight.digests for night in reversed(bad)):
        return stands
    if any(night.digests == tonight.digests for night in reversed(baseline)):
        return Ruling("better", tonight.name, against, named=named, why="the bytes are those of the baseline again")
    over = weigh(bad, tonight)
    gain, loss = over.p(GAIN), against.p(LOSS) if against else None
    if gain is not None and gain <= case.rules.recovered_p and (loss is None or loss > case.rules.still_worse_p):
        return Ruling("better", tonight.name, against, named=named, why="the loss is over")
    candidate = candidate_of(over, LOSS, case.rules)
    if candidate is None:
        return stands
    deeper = _of_candidate(case, over, candidate, "worse")
    if deeper.status == "worse" and not (deeper.confirmed and deeper.confirmed.holds):
        return replace(deeper, since=stands.since, weighed=against, named=named)
    return replace(deeper, weighed=against, named={*named, *deeper.named})


def _verdict(case: Case, ruling: Ruling) -> Verdict:
    since, row = _state(case.history, case.tonight, ruling)
    last_good = _last_good(case, since if ruling.status == "worse" else case.tonight.name)
    cells = cell_verdicts(_findings(case, ruling, since))
    after = [night for night in case.history if last_good is None or night.name > last_good.name]
    changed = changes(last_good, after, case.tonight)
    baseline = names(case.segment.baseline)
    return Verdict(
        night=case.tonight.name,
        status=ruling.status,
        since=since,
        line=line_of(ruling.status, case.tonight.name, since, cells, len(baseline), ruling.why, ruling.confirmed),
        cells=cells,
        counts=_counts(cells),
        evidence=_evidence(case.rules, ruling.weighed),
        changed=changed,
        anchors=compare_anchors(case.segment.last, case.tonight, case.rules),
        wants=ruling.candidate if ruling.wants else None,
        confirmed=ruling.confirmed,
        culprit=_culprit(cells, since, last_good, changed) if ruling.status == "worse" else None,
        baseline=baseline,
        last_good=last_good.name if last_good else None,
        nights_in_row=row,
        why=ruling.why,
        notes=_notes(ruling, case.segment),
    )


def _findings(case: Case, ruling: Ruling, since: str) -> Findings:
    naming: CellStatus = "better" if ruling.status == "better" else "worse"
    named = ruling.named if ruling.status in ("better", "worse") else ()
    return Findings(case.history, case.tonight, ruling.weighed, ruling.candidate, named, naming, since)


def _state(history: Sequence[Night], tonight: Night, ruling: Ruling) -> tuple[str, int]:
    """Return since when the state lasts, and for how many nights."""
    last = history[-1] if history else None
    if ruling.since is not None:
        since = ruling.since
    else:
        since = (last.since or last.name) if last and last.status == ruling.status else tonight.name
    row = 1
    for night in reversed(history):
        if ((night.since or night.name) != since and night.status == ruling.status) or night.name < since:
            break
        row += night.status == ruling.status
    return since, row


def _last_good(case: Case, before: str) -> Night | None:
    """Return the newest night of the baseline before the given one; without one, the last whole night."""
    good = [night for night in case.segment.baseline if night.name < before]
    return good[-1] if good else case.segment.last


def _evidence(rules: Rules, weighed: Weighed | None) -> Evidence:
    p, e = (weighed.p(LOSS), weighed.e(LOSS)) if weighed else (None, None)
    joined_over = int(weighed.moved.sum()) if weighed else 0
    return Evidence(p, e, rules.candidate_p, rules.candidate_e, joined_over)


def _notes(ruling: Ruling, segment: Segment) -> tuple[str, ...]:
    """Return what a reader has to know of the comparison, and of a loss that nothing is compared with any more."""
    dropped = segment.dropped or (segment.bad[0].since if segment.bad and ruling.status == "ruler_moved" else "")
    notes = [f"the loss since {dropped} is judged no further: tonight is not comparable with it"] if dropped else []
    weighed = ruling.weighed
    if weighed is None or weighed.twin is None:
        return tuple(notes)
    if any(bytes_.equal is False and not bytes_.comparable for bytes_ in weighed.bytes.values()):
        notes.append("compared across machines or versions: other bytes were to be expected, accuracies are compared")
    if any(len(runs) == 1 for runs in weighed.scores.tonight.fixed.values()):
        notes.append("one fixed seed: the paired test is about items alone, not about other seeds")
    return tuple(notes)


def _culprit(
    cells: Sequence[CellVerdict], since: str, last_good: Night | None, changed: tuple[Change, ...]
) -> Culprit | None:
    worse = [cell for cell in cells if cell.status == "worse"]
    if not worse:
        return None
    surest = min(worse, key=lambda cell: (_surety(cell), cell.cell))
    return Culprit(
        task=surest.task,
        method=surest.method,
        first_bad=since,
        last_good=last_good.name if last_good else None,
        changed=tuple(change for change in changed if change.since == since) or changed,
        flips=surest.flips,
    )


def _surety(cell: CellVerdict) -> float:
    """Return the difference in units of its interval: the lowest is the surest loss."""
    if cell.difference is None or not cell.interval:
        return cell.difference or 0.0
    return cell.difference / max(float(np.ptp(cell.interval)), 1e-9)


def _counts(cells: Sequence[CellVerdict]) -> dict[str, int]:
    """Return how many cells there are, and how many of each status."""
    statuses: list[CellStatus] = [
        "worse", "suspected", "unchanged", "moved", "better", "new", "too_few", "broken", "never_passed",
    ]  # fmt: skip
    return {"cells": len(cells), **{status: sum(cell.status == status for cell in cells) for status in statuses}}
