"""Pure: which candidate of an ordered list to try next, and which one is the first bad one, as git bisect does.

Candidates are numbered from 0, the oldest; the first is taken to be good and the last to be bad once they were tried.
A candidate that cannot be tried is skipped: it is neither.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Mark = Literal["good", "bad", "skip"]
MOST_SKIPS = 10
"""After so many skipped candidates in the range that is left the search ends, and names the range."""


@dataclass(frozen=True)
class Outcome:
    """The end of a search: ``first_bad`` is the number of the first bad candidate; None where it is not known.

    ``suspects`` are the numbers of the candidates of which one is the first bad one, in order; with a ``first_bad``
    this one alone. ``why`` is why a search found none; "" for a search that did.
    """

    first_bad: int | None
    suspects: tuple[int, ...]
    why: str = ""


def next_candidate(number: int, marks: Mapping[int, Mark], most_skips: int = MOST_SKIPS) -> int | None:
    """Return which of ``number`` candidates to try next; None when the search is over.

    The last one is tried first, then the first one: if they are not bad and good there is nothing to search. Between
    the newest good and the oldest bad candidate the middle is tried. Candidates that cannot be tried lie in rows, so
    after a skip the search closes in from both sides: next is the middle of the larger gap between the good or the bad
    candidate and the skipped ones, and only then a gap between two skipped ones.
    """
    for end in (number - 1, 0):
        if end not in marks:
            return end
        if marks[end] != ("good" if end == 0 else "bad"):
            return None
    low, high = _range(marks)
    skipped = [index for index in range(low + 1, high) if marks.get(index) == "skip"]
    if len(skipped) >= most_skips:
        return None
    edges = [low, *skipped, high]
    gaps = list(pairwise(edges))
    for some in ((gaps[0], gaps[-1]), gaps):
        before, after = max(some, key=lambda gap: gap[1] - gap[0])  # of equal ones the first
        if after - before > 1:
            return (before + after) // 2
    return None


def outcome(number: int, marks: Mapping[int, Mark]) -> Outcome:
    """Return the result of a search that is over."""
    if marks.get(number - 1) != "bad":
        return Outcome(None, (), f"the bad end is not bad: it was {_words(marks.get(number - 1))}")
    if marks.get(0) != "good":
        return Outcome(None, (), f"the good end is not good: it was {_words(marks.get(0))}")
    low, high = _range(marks)
    suspects = tuple(range(low + 1, high + 1))
    if len(suspects) == 1:
        return Outcome(high, suspects)
    return Outcome(
        None, suspects, f"{len(suspects) - 1} candidates between the last good and the first bad were skipped"
    )


def tries_left(number: int, marks: Mapping[int, Mark]) -> int:
    """Return about how many candidates are still to be tried, if none is skipped from now on."""
    ends = sum(end not in marks for end in {0, number - 1})
    taken: dict[int, Mark] = {0: "good", number - 1: "bad"}
    low, high = _range(taken | dict(marks))
    return ends + max(0, math.ceil(math.log2(max(1, high - low))))


def _range(marks: Mapping[int, Mark]) -> tuple[int, int]:
    """Return the newest good candidate and the oldest bad one."""
    good = [index for index, mark in marks.items() if mark == "good"]
    bad = [index for index, mark in marks.items() if mark == "bad"]
    return max(good, default=0), min(bad, default=0)


def _words(mark: Mark | None) -> str:
    return {None: "not tried", "skip": "not to be tried", "good": "good", "bad": "bad"}[mark]
