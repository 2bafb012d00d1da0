"""Both kinds of evidence, joint and by cell, from moved bytes on; and a confirmation, against the nights before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.verdict.confirmation import Weighed, candidate_of, confirm, weigh
from orchestrator.verdict.night import Night
from orchestrator.verdict.scores import scores_of
from orchestrator.verdict.sequence import follow
from orchestrator.verdict.verdict import Candidate
from tests.helpers.night_tables import CELLS, RULES, day, night, run

LOSS = -1
CELL = CELLS[0]


def _nights(count: int, word: str = "a", loss: float = 0.0, first: int = 1) -> list[Night]:
    return [night(day(first + n), word, loss) for n in range(count)]


def _moving(count: int, loss: float = 0.0, first: int = 1) -> list[Night]:
    return [night(day(first + n), f"bytes{first + n}", loss) for n in range(count)]


def test_a_small_loss_in_all_cells_is_seen_by_their_joint_series_alone() -> None:
    weighed = weigh(_nights(30), night(day(31), "bug", 1.6))
    candidate = candidate_of(weighed, LOSS, RULES)
    each = weighed.tonight.p_values(LOSS)
    assert weighed.p(LOSS) == pytest.approx(each[4])
    assert each[4] < RULES.candidate_p < min(each[:4])
    assert candidate is not None
    assert (candidate.joint, candidate.alone, candidate.cells) == (True, (), tuple(sorted(CELLS)))


def test_a_large_loss_in_one_cell_is_seen_by_that_cell() -> None:
    candidate = candidate_of(weigh(_nights(30), night(day(31), "bug", {CELL: 9.0})), LOSS, RULES)
    assert candidate is not None
    assert candidate.alone == (CELL,)


def test_the_errors_of_all_series_add_up_to_one() -> None:
    weighed = weigh(_nights(3), night(day(4), "b"))
    assert weighed.tonight.weights.tolist() == [0.125] * 4 + [0.5]
    single = [("arc", "lora")]
    alone = weigh([night(day(n), cells=single) for n in (1, 2)], night(day(3), "b", cells=single))
    assert alone.tonight.weights.tolist() == [1.0]


def test_a_change_begins_only_on_a_night_whose_bytes_moved() -> None:
    """Fresh seeds fall from night 12 on while all bytes stay; bytes had moved on nights 6 and 18."""
    nights = [*_nights(5), *_nights(6, "b", first=6)]
    nights += [replace(one, runs=_with_bytes_of("b", one)) for one in _nights(6, "c", 4.0, first=12)]
    nights += _nights(2, "d", 4.0, first=18)
    sequence = follow(scores_of(nights[:-1], nights[-1]))
    assert sequence is not None
    names = [one.name for one in nights]
    assert names[sequence.start(LOSS)] in (day(6), day(18))


def _with_bytes_of(word: str, one: Night) -> tuple[object, ...]:
    """The night's runs, the fixed ones replaced by those of the word."""
    fixed = [other for other in night(one.name, word).runs if not other.fresh]
    return (*fixed, *(other for other in one.runs if other.fresh))


def test_without_moved_bytes_there_is_no_sequence_to_follow() -> None:
    assert follow(scores_of(_nights(9), night(day(10)))) is None


def test_a_confirmation_is_compared_with_the_nights_before_the_change_began() -> None:
    nights = [*_nights(10), *_nights(10, "slow", 3.0, first=11)]
    weighed = weigh(nights, night(day(21), "slow", 3.0))
    since = Candidate("worse", (CELL,), False, (CELL,), day(11))
    late = replace(since, since=day(21))
    assert _difference(weighed, since) == pytest.approx(-0.03, abs=0.012)
    assert _difference(weighed, late) == pytest.approx(_difference(weighed, since) + 0.015, abs=0.006)


def _difference(weighed: Weighed, candidate: Candidate) -> float:
    runs = [run(CELL, 50_000 + seed, "confirm", 3.0, fresh=True) for seed in range(8)]
    confirmed = confirm(candidate, weighed, runs, RULES)
    assert confirmed.difference is not None
    return confirmed.difference


def test_each_of_several_suspicions_is_confirmed_at_its_share_of_the_level() -> None:
    weighed = weigh(_moving(12), night(day(13), "bug", 4.0))
    runs = [run(cell, 50_000 + seed, "confirm", 1.5, fresh=True) for cell in CELLS for seed in range(5)]
    one = confirm(Candidate("worse", (CELL,), False, (CELL,), day(13)), weighed, runs, RULES)
    both = confirm(Candidate("worse", CELLS[:2], False, tuple(CELLS[:2]), day(13)), weighed, runs, RULES)
    assert one.p is not None
    assert both.p is not None
    assert both.p <= 2 * one.p
    assert both.holds == (both.p <= RULES.confirm_p)


def test_cells_suspected_together_are_named_by_what_the_confirmation_shows_of_each() -> None:
    weighed = weigh(_moving(12), night(day(13), "bug", {CELL: 9.0}))
    runs = [
        run(cell, 50_000 + seed, "confirm", 9.0 if cell == CELL else -1.0, fresh=True)
        for cell in CELLS
        for seed in range(5)
    ]
    together = confirm(Candidate("worse", tuple(sorted(CELLS)), True, (), day(13)), weighed, runs, RULES)
    assert (together.holds, together.cells) == (True, (CELL,))
