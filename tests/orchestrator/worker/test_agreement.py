"""Two ways of scoring agree up to rounding; a difference beyond rounding is named."""

from __future__ import annotations

import math

import pytest

from orchestrator.data.tokens import Item
from orchestrator.worker.agreement import BOUNDS, CALM, agreement

ITEM = Item(((0, 1, 2), (0, 1, 3)), (2, 2), 0, (1, 1))  # a token each
SCORES = [[-1.0, -3.0]] * 100
SCALES = (2.0, 4.0)


def moved(by: float, *, items: range = range(100), dtype: str = "float32") -> list[list[float]]:
    """Return the scores with the first choice of ``items`` off by a share ``by`` of the bound."""
    step = by * BOUNDS[dtype] * SCALES[0]
    return [[a + (step if number in items else 0.0), b] for number, (a, b) in enumerate(SCORES)]


def test_equal_scores_agree() -> None:
    fields = agreement([ITEM] * 100, SCORES, SCORES, "float32").fields()
    assert fields == {"holds": True, "items": 100, "largest_difference": 0.0, "rms": 0.0,
                    "bound": BOUNDS["float32"], "apart": [], "flips": []}  # fmt: skip


@pytest.mark.parametrize("dtype", BOUNDS)
def test_one_score_may_be_as_far_off_as_the_bound_and_no_further(dtype: str) -> None:
    for by, holds in ((0.99, True), (-0.99, True), (1.01, False), (-1.01, False)):
        compared = agreement([ITEM] * 100, moved(by, items=range(7, 8), dtype=dtype), SCORES, dtype)
        assert (compared.holds, compared.apart) == (holds, () if holds else (7,))


def test_many_scores_may_only_be_a_little_off() -> None:
    root = math.sqrt(2)  # one of two choices is moved
    for by, holds in ((0.99 * root / CALM, True), (1.01 * root / CALM, False)):
        compared = agreement([ITEM] * 100, moved(by), SCORES, "float32")
        assert (compared.holds, compared.apart) == (holds, ())


def test_a_long_answer_may_be_further_off_than_a_short_one() -> None:
    long = Item(((0, *range(1, 9)), (0, *range(2, 10))), (1, 1), 0, (1, 1))
    off = [[-1.0 + 3 * BOUNDS["float32"], -3.0], *SCORES[1:]]
    assert not agreement([ITEM] * 100, off, SCORES, "float32").holds
    assert agreement([long] * 100, off, SCORES, "float32").holds


def test_an_item_whose_best_choice_differs_is_named_even_within_rounding() -> None:
    compared = agreement([ITEM], [[-1.0, -1.00001]], [[-1.00001, -1.0]], "float32")
    assert (compared.holds, compared.flips) == (True, (0,))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_agrees_with_nothing_else(value: float) -> None:
    for pair in (([[value, -3.0]], SCORES[:1]), (SCORES[:1], [[value, -3.0]]), ([[value, -3.0]], [[-value, -3.0]])):
        compared = agreement([ITEM], *pair, "bfloat16")
        assert (compared.holds, compared.apart) == (False, (0,))
        assert compared.fields()["largest_difference"] is None


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("value", [-math.inf, math.inf, 0.0, -1e300])
def test_equal_values_agree_however_large_they_are(value: float, dtype: str) -> None:
    compared = agreement([ITEM], [[value, -3.0]], [[value, -3.0]], dtype)
    assert (compared.holds, compared.apart, compared.flips) == (True, (), ())
    assert compared.fields()["largest_difference"] == 0.0


def test_other_numbers_of_items_are_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        agreement([ITEM], SCORES[:1], [], "float32")
