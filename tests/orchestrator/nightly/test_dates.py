"""Which night it is: today, or a date that is one and has come; an older night than one that has begun is refused."""

from __future__ import annotations

from datetime import date

import pytest

from orchestrator.errors import HeldError, InputError
from orchestrator.nightly.dates import night_named, refuse_replay

TODAY = date(2026, 11, 28)


def test_without_a_word_it_is_tonight() -> None:
    assert night_named(None, TODAY) == "2026-11-28"


@pytest.mark.parametrize("word", ["2026-11-28", "2026-11-27", "2024-02-29"])
def test_a_date_that_has_come_is_that_night(word: str) -> None:
    assert night_named(word, TODAY) == word


@pytest.mark.parametrize(
    "word", ["", "2026-13-40", "2026-02-30", "28.11.2026", "20261128", "2026-11-28 ", "2026-W48-6", "../x"]
)
def test_a_word_that_is_no_date_is_refused_with_the_form_of_one(word: str) -> None:
    with pytest.raises(InputError, match=r"no date\. Write YYYY-MM-DD, for example night=2026-11-28"):
        night_named(word, TODAY)


def test_a_night_to_come_is_refused_with_tonight_as_the_remedy() -> None:
    with pytest.raises(InputError, match="still to come") as caught:
        night_named("2026-11-29", TODAY)
    assert "night=2026-11-28" in str(caught.value)
    assert night_named("2026-11-28", TODAY)  # the remedy


def test_a_night_older_than_one_that_has_begun_is_refused_and_names_it() -> None:
    with pytest.raises(HeldError, match="2026-11-27 is older than the night 2026-11-28, which has begun"):
        refuse_replay("2026-11-27", ["2026-11-26", "2026-11-28"])


@pytest.mark.parametrize("begun", [[], ["2026-11-26"], ["2026-11-26", "2026-11-27"]])
def test_the_newest_night_and_one_that_goes_on_are_not_refused(begun: list[str]) -> None:
    refuse_replay("2026-11-27", begun)
