"""A bisection names the first bad candidate with the fewest tries, and goes around candidates that cannot be tried."""

from __future__ import annotations

import math
import random

import pytest

from orchestrator.verdict.bisecting import Mark, Outcome, next_candidate, outcome, tries_left


def search(
    number: int, first_bad: int, skipped: set[int] | None = None, most_skips: int = 10**6
) -> tuple[Outcome, int]:
    """Return the end of a search, and the number of candidates that it tried."""
    marks: dict[int, Mark] = {}
    while (index := next_candidate(number, marks, most_skips)) is not None:
        assert index not in marks
        marks[index] = "skip" if index in (skipped or ()) else "bad" if index >= first_bad else "good"
    return outcome(number, marks), len(marks)


def brute(number: int, first_bad: int, skipped: set[int]) -> tuple[int, ...]:
    """Return which candidates may be the first bad one if all others are tried."""
    good = max(index for index in range(first_bad) if index not in skipped)
    bad = min(index for index in range(first_bad, number) if index not in skipped)
    return tuple(range(good + 1, bad + 1))


def test_each_first_bad_of_up_to_1000_is_named_in_logarithmic_time() -> None:
    for number in (*range(2, 40), 127, 128, 129, 1000):
        for first_bad in range(1, number):
            end, tries = search(number, first_bad)
            assert end == Outcome(first_bad, (first_bad,))
            assert tries <= 2 + math.ceil(math.log2(number - 1) if number > 2 else 0)


def test_with_skips_the_suspects_are_exactly_those_of_trying_everything() -> None:
    drawn = random.Random(19)
    for _ in range(2000):
        number = drawn.randrange(2, 60)
        first_bad = drawn.randrange(1, number)
        inner = range(1, number - 1)
        skipped = {index for index in inner if drawn.random() < drawn.choice((0.1, 0.5, 0.9))}
        end, _ = search(number, first_bad, skipped)
        assert end.suspects == brute(number, first_bad, skipped)
        assert end.first_bad == (end.suspects[0] if len(end.suspects) == 1 else None)
        assert bool(end.why) == (end.first_bad is None)


def test_a_long_row_of_broken_candidates_costs_few_tries() -> None:
    number, skipped = 1000, set(range(300, 701))
    for first_bad in range(1, number):
        end, tries = search(number, first_bad, skipped, most_skips=10)
        assert first_bad in end.suspects
        assert tries <= 2 + 2 * 10
        if first_bad < 300 or first_bad > 701:
            assert end.first_bad == first_bad
        else:  # it is in the row, or just behind it
            assert len(end.suspects) <= 402 + 20
            assert "skipped" in end.why


@pytest.mark.parametrize(
    ("marks", "words"),
    [
        ({9: "good"}, "the bad end is not bad: it was good"),
        ({9: "skip"}, "the bad end is not bad: it was not to be tried"),
        ({9: "bad", 0: "bad"}, "the good end is not good: it was bad"),
        ({9: "bad", 0: "skip"}, "the good end is not good: it was not to be tried"),
    ],
)
def test_ends_that_are_not_what_they_should_be_end_the_search(marks: dict[int, Mark], words: str) -> None:
    assert next_candidate(10, marks) is None
    assert outcome(10, marks) == Outcome(None, (), words)


def test_what_is_left_is_told_and_never_more_than_needed() -> None:
    assert tries_left(2, {}) == 2
    assert tries_left(1000, {}) == 2 + 10
    marks: dict[int, Mark] = {}
    while (index := next_candidate(1000, marks)) is not None:
        left = tries_left(1000, marks)
        marks[index] = "bad" if index >= 618 else "good"
        assert tries_left(1000, marks) < left
    assert tries_left(1000, marks) == 0
