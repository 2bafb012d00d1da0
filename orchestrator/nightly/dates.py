"""Pure: which night it is, and whether the night may still begin."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from orchestrator.errors import HeldError, InputError
from orchestrator.store.nights_folder import date_of


def night_named(word: str | None, today: date) -> str:
    """Return the name of the night, ``YYYY-MM-DD``: ``word``, the text after ``night=``, or without it today's date.

    InputError for a text that is no date, and for a date after ``today``, which is the local date of this machine.
    """
    if word is None:
        return today.isoformat()
    night = date_of(word)
    if night is None:
        raise InputError(f"argument 'night={word}': this is no date. Write YYYY-MM-DD, for example night={today}.")
    if night > today:
        raise InputError(
            f"argument 'night={word}': this night is still to come, for today is {today}; every night until then would "
            f"be refused as older. Give today's night, night={today}, or leave the word out."
        )
    return word


def refuse_replay(night: str, begun: Collection[str]) -> None:
    """Refuse a night that is older than one which has begun; ``begun`` are the names of all nights that have.

    HeldError with the newer night: a scheduler that replays missed nights tries again, and is refused again.
    """
    newest = max(begun, default=night)
    if newest > night:
        raise HeldError(
            f"The night {night} is older than the night {newest}, which has begun: a night that was missed is not made "
            "up, because the world under it is the newer night's. Nothing was done. Leave night= out for tonight."
        )
