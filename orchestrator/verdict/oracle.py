"""Pure: whether a candidate of a bisection is good or bad, by its bytes, and else by its answers on the same items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from orchestrator.statistics.significance import one_sided_mcnemar_p
from orchestrator.verdict.bisecting import Mark
from orchestrator.wording import count, p_value, points

LEVEL = 0.05
"""The bad end is worse than the good end if the test says so with a p of at most this."""
Kind = Literal["accuracy", "bits", "none"]


@dataclass(frozen=True)
class TriedRun:
    """A run of the suspect cell under one candidate, by its seed; ``digest`` is over its losses and predictions.

    ``right`` has "1" or "0" per test item; "" for a run that diverged.
    """

    seed: int
    status: str
    digest: str
    right: str


@dataclass(frozen=True)
class Tried:
    """What a candidate gave: its ``runs`` in the order of their seeds, or ``why`` there is no result."""

    runs: tuple[TriedRun, ...]
    why: str = ""
    seconds: float = 0.0

    @property
    def digests(self) -> tuple[str, ...]:
        """The digest of every run."""
        return tuple(run.digest for run in self.runs)

    def as_json(self) -> dict[str, Any]:
        """Return this as a JSON object."""
        return asdict(self)

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> Tried:
        """Return what `as_json` has written."""
        return cls(tuple(TriedRun(**run) for run in content["runs"]), content["why"], content["seconds"])


@dataclass(frozen=True)
class Ends:
    """The two ends of a bisection, and by what they differ.

    "accuracy": the bad end is worse. "bits": it is not shown to be worse, and its bytes are others. "none": the bytes
    are the same, so there is nothing to search. ``p`` is the one-sided p of "worse", ``difference`` a share.
    """

    good: Tried
    bad: Tried
    kind: Kind
    p: float | None = None
    difference: float | None = None

    @property
    def line(self) -> str:
        """The two ends in words."""
        if self.kind == "none":
            return "both ends have the same bytes"
        if self.kind == "bits":
            worse = "" if self.p is None else f" ({points(self.difference, 2)} points, p {p_value(self.p)})"
            return f"the bytes differ, and the bad end is not shown to be worse{worse}: the change of bytes is sought"
        if self.p is None:
            return f"of the bad end {count(_diverged(self.bad), 'run')} diverged"
        return f"the bad end is worse: {points(self.difference, 2)} points, p {p_value(self.p)}"


def ends_of(good: Tried, bad: Tried) -> Ends:
    """Return how the ends differ. A bad end of which a run diverged is worse than a good end of which none did."""
    if good.digests == bad.digests:
        return Ends(good, bad, "none")
    p, difference = _worse(good, bad)
    broke = _diverged(bad) and not _diverged(good)
    return Ends(good, bad, "accuracy" if broke or (p is not None and p <= LEVEL) else "bits", p, difference)


def mark_of(tried: Tried, ends: Ends) -> tuple[Mark, str]:
    """Return the mark of a candidate between the ends, and why.

    The bytes of an end decide. A candidate with other bytes is bad if bytes are sought. Else it is compared with both
    ends on the same items and seeds: it is bad if it is found worse than the good end and not better than the bad end;
    where the tests say neither or both, the nearer end decides.
    """
    return _by_bytes(tried, ends) or _by_answers(tried, ends)


def _by_bytes(tried: Tried, ends: Ends) -> tuple[Mark, str] | None:
    """Return the mark of a candidate that its bytes, or its end, alone decide; else None."""
    if not tried.runs:
        return "skip", tried.why
    if tried.digests == ends.good.digests:
        return "good", "the bytes of the good end"
    if tried.digests == ends.bad.digests:
        return "bad", "the bytes of the bad end"
    diverged = 0 if _diverged(ends.good) else _diverged(tried)
    if ends.kind == "bits" or diverged:
        return "bad", f"{count(diverged, 'run')} diverged" if diverged else "other bytes than the good end"
    return None


def _by_answers(tried: Tried, ends: Ends) -> tuple[Mark, str]:
    worse, loss = _worse(ends.good, tried)
    better, _ = _worse(tried, ends.bad)
    if worse is None:
        return "skip", "its items are others"
    is_worse = worse <= LEVEL
    is_better = better <= LEVEL if better is not None else not is_worse  # a bad end without answers: it diverged
    said = f"{points(loss, 2)} points against the good end, p {p_value(worse)}"
    if is_worse != is_better:
        return ("bad", f"worse: {said}") if is_worse else ("good", f"not worse: {said}")
    near_bad = _apart(tried, ends.bad) < _apart(tried, ends.good)
    return ("bad", f"nearer to the bad end: {said}") if near_bad else ("good", f"nearer to the good end: {said}")


def marks_of(number: int, tried: Mapping[int, Tried]) -> tuple[dict[int, Mark], dict[int, str], Ends | None]:
    """Return the marks of the candidates that were ``tried`` of ``number``, a reason each, and how the ends differ.

    Until both ends have results no candidate between them has a mark.
    """
    low, high = tried.get(0), tried.get(number - 1)
    marks: dict[int, Mark] = {}
    whys = {index: one.why for index, one in ((0, low), (number - 1, high)) if one is not None and not one.runs}
    marks.update(dict.fromkeys(whys, "skip"))
    if low is not None and low.runs:
        marks[0], whys[0] = "good", "the good end"
    if high is not None and high.runs:
        marks[number - 1], whys[number - 1] = "bad", "the bad end"
    if low is None or high is None or not (low.runs and high.runs):
        return marks, whys, None
    ends = ends_of(low, high)
    if ends.kind == "none":
        return marks | {number - 1: "good"}, whys | {number - 1: ends.line}, ends
    for index, one in tried.items():
        if 0 < index < number - 1:
            marks[index], whys[index] = mark_of(one, ends)
    return marks, whys, ends


def _diverged(tried: Tried) -> int:
    return sum(run.status == "diverged" for run in tried.runs)


def _worse(first: Tried, second: Tried) -> tuple[float | None, float | None]:
    """Return the one-sided p of "the second is worse", and its accuracy minus the first's, over items and seeds.

    (None, None) where runs have no answers, or other items. All pairs of item and seed count as one table: this
    chooses between two known ends, and is no verdict.
    """
    pairs = list(_pairs(first.runs, second.runs))
    if not pairs:
        return None, None
    lost, won = pairs.count(("1", "0")), pairs.count(("0", "1"))
    return one_sided_mcnemar_p(lost, won), (won - lost) / len(pairs)


def _apart(first: Tried, second: Tried) -> int:
    """Return on how many pairs of item and seed two candidates differ."""
    return sum(one != other for one, other in _pairs(first.runs, second.runs))


def _pairs(first: Sequence[TriedRun], second: Sequence[TriedRun]) -> Iterator[tuple[str, str]]:
    others = {run.seed: run for run in second}
    for run in first:
        other = others.get(run.seed)
        if other is not None and run.right and len(run.right) == len(other.right):
            yield from zip(run.right, other.right, strict=True)
