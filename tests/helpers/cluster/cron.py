"""Cron expressions: five fields, checked, and the moments at which they start something in a time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

RANGES = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}


def parsed(expression: str) -> dict[str, frozenset[int]]:
    """Return the values of each field; ValueError with the field and its text if it is not a cron expression."""
    words = expression.split()
    if len(words) != len(RANGES):
        raise ValueError(f"{expression!r} has {len(words)} fields, not {len(RANGES)}")
    fields = {name: _values(name, word) for name, word in zip(RANGES, words, strict=True)}
    fields["weekday"] = frozenset(day % 7 for day in fields["weekday"])
    if words[2] != "*" and words[4] != "*":
        raise ValueError(f"{expression!r} has a day and a weekday, which cron joins by 'or': give one of them")
    return fields


def starts(expression: str, zone: str, begin: date, days: int) -> list[datetime]:
    """Return the moments, in UTC, at which a clock on the wall of ``zone`` shows a minute of the expression.

    So read the schedulers of Kubernetes and KubeRay: a minute that a clock change leaves out starts nothing, and a
    minute that comes twice starts twice.
    """
    fields, wall = parsed(expression), ZoneInfo(zone)
    moments = set[datetime]()
    for number, hour, minute, fold in product(range(days), fields["hour"], fields["minute"], (0, 1)):
        day = begin + timedelta(days=number)
        if day.day in fields["day"] and day.month in fields["month"] and day.isoweekday() % 7 in fields["weekday"]:
            shown = datetime(day.year, day.month, day.day, hour, minute, tzinfo=wall, fold=fold)
            moment = shown.astimezone(UTC)
            if moment.astimezone(wall).replace(tzinfo=None) == shown.replace(tzinfo=None):  # else the clock skips it
                moments.add(moment)
    return sorted(moments)


def _values(name: str, word: str) -> frozenset[int]:
    """Return the values that the text of a field stands for: ``*``, ``5``, ``1-5``, ``*/15``, ``1,3``."""
    low, high = RANGES[name]
    values: set[int] = set()
    for part in word.split(","):
        whole, slash, step = part.partition("/")
        first, dash, last = whole.partition("-")
        begin, end = (str(low), str(high)) if whole == "*" else (first, last if dash else str(high) if slash else first)
        numbers = (begin, end, step or "1")
        if not all(number.isascii() and number.isdigit() for number in numbers):
            raise ValueError(f"{name}: {part!r} is neither *, a number, a range nor a step")
        start, stop, stride = map(int, numbers)
        if not (low <= start <= stop <= high and stride > 0):
            raise ValueError(f"{name}: {part!r} is not within {low} to {high}")
        values.update(range(start, stop + 1, stride))
    return frozenset(values)
