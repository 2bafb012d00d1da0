"""Whether the ruler moved: the unchanged base, or an unchanged champion, scores otherwise than on the last whole night.

New bits of a kernel move a score by 1e-5 nats and flip an item that was nearly tied. A tokeniser, other rows or a wrong
kernel move most scores. The canary's accuracy says nothing about a model when the ruler moved.
"""

from __future__ import annotations

import statistics

from orchestrator.statistics.significance import mcnemar_p
from orchestrator.verdict.night import Anchor, Night, World
from orchestrator.verdict.rules import Rules
from orchestrator.verdict.verdict import AnchorVerdict
from orchestrator.wording import listed


def compare_anchors(last: Night | None, tonight: Night, rules: Rules) -> tuple[AnchorVerdict, ...]:
    """Return every anchor of tonight against the same model on the last whole night."""
    before = {(anchor.kind, anchor.task): anchor for anchor in last.anchors} if last else {}
    return tuple(_compare(before.get((anchor.kind, anchor.task)), anchor, rules) for anchor in tonight.anchors)


def _compare(before: Anchor | None, now: Anchor, rules: Rules) -> AnchorVerdict:
    accuracy = _accuracy(now)
    if before is None or before.identity != now.identity or len(before.right) != len(now.right) or not now.right:
        known = None if before is None else _accuracy(before)
        return AnchorVerdict(now.kind, now.task, accuracy, known, None, 0, moved=False)
    pairs = list(zip(before.right, now.right, strict=True))
    won, lost = pairs.count(("0", "1")), pairs.count(("1", "0"))
    change = (
        statistics.median(abs(a - b) for a, b in zip(before.scores, now.scores, strict=True)) if now.scores else 0.0
    )
    tilted = won + lost > rules.ruler_flips * len(pairs) and mcnemar_p(won, lost) <= rules.candidate_p
    moved = change > rules.ruler_nats or tilted
    return AnchorVerdict(now.kind, now.task, accuracy, _accuracy(before), change, won + lost, moved)


def ruler_moved(last: Night | None, tonight: Night, anchors: tuple[AnchorVerdict, ...]) -> str:
    """Return in words what moved the ruler since the last whole night; "" if nothing did."""
    if last is None:
        return ""
    reasons = _fingerprints(last.world, tonight.world)
    reasons += [
        f"the unchanged {anchor.kind} scores {anchor.task} otherwise ({anchor.flips} items flipped, median change "
        f"{anchor.median_score_change:.2g} nats)"
        for anchor in anchors
        if anchor.moved
    ]
    return listed(reasons) if reasons else ""


def _fingerprints(before: World, now: World) -> list[str]:
    reasons = ["the base has another fingerprint"] if before.base != now.base else []
    tasks = sorted(task for task in before.rows.keys() & now.rows.keys() if before.rows[task] != now.rows[task])
    return [*reasons, *([f"the rows of {listed(tasks)} have another fingerprint"] if tasks else [])]


def _accuracy(anchor: Anchor) -> float:
    return anchor.right.count("1") / len(anchor.right) if anchor.right else float("nan")
