"""Which night a schedule starts: over clock changes, downtime and repetition every date has one night, or none."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from orchestrator.errors import HeldError
from orchestrator.nightly.dates import night_named, refuse_replay
from tests.helpers.cluster.cron import parsed, starts
from tests.helpers.cluster.schedules import KINDS, schedule, unit

BEGIN, DAYS = date(2027, 1, 1), 365
LAST = date(2027, 12, 30)  # the start and the end of the year may be cut by a zone
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def nights(cron: str, zone: str, night_zone: str) -> Counter[str]:
    """Return how often each night of a year is started, by its name."""
    moments = starts(cron, zone, BEGIN, DAYS)
    return Counter(night_named(None, moment.astimezone(ZoneInfo(night_zone)).date()) for moment in moments)


def odd(cron: str, zone: str, night_zone: str) -> dict[str, int]:
    """Return the dates of a year that are not started exactly once, each with the number of its starts."""
    started = nights(cron, zone, night_zone)
    dates = (date(2027, 1, 2) + timedelta(days=day) for day in range((LAST - date(2027, 1, 2)).days))
    return {str(day): started[str(day)] for day in dates if started[str(day)] != 1}


@pytest.mark.parametrize("kind", KINDS)
def test_every_date_has_one_night_as_shipped(kind: str) -> None:
    one = schedule(kind)
    zone = one.zone or "UTC"
    assert odd(one.cron, zone, one.night_zone or zone) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_the_night_has_the_date_of_the_schedules_own_zone(kind: str) -> None:
    one = schedule(kind)
    assert ZoneInfo(one.zone or "UTC").utcoffset(datetime(2027, 7, 1)) == ZoneInfo(one.night_zone or "UTC").utcoffset(
        datetime(2027, 7, 1)
    )
    assert bool(one.zone) == bool(one.night_zone)  # both are named, or both are the machine's


def test_with_another_zone_for_the_date_spring_loses_a_night() -> None:
    """01:30 in Berlin is 00:30 in UTC in winter, and 23:30 of the day before in summer."""
    assert odd("30 1 * * *", BERLIN, "UTC") == {"2027-03-28": 2, "2027-10-31": 0}


@pytest.mark.parametrize(
    ("cron", "zone", "wrong"),
    [
        ("30 1 * * *", BERLIN, {}),
        ("30 2 * * *", BERLIN, {"2027-03-28": 0, "2027-10-31": 2}),
        ("30 1 * * *", NEW_YORK, {"2027-11-07": 2}),
        ("30 2 * * *", NEW_YORK, {"2027-03-14": 0}),
        ("30 4 * * *", NEW_YORK, {}),
        ("0 0 * * *", "America/Santiago", {"2027-09-05": 0}),  # its clock goes forward at midnight
    ],
)
def test_an_hour_that_a_clock_change_leaves_out_or_repeats(cron: str, zone: str, wrong: dict[str, int]) -> None:
    assert odd(cron, zone, zone) == wrong


def calendar(expression: str, begin: str, number: int) -> list[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed, which says when a timer elapses")
    words = [program, "calendar", f"--base-time={begin}", f"--iterations={number}", expression]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True, env={"TZ": "UTC"})
    return re.findall(r"(?:Next elapse|Iter\. #\d+): \w+ (\S+ \S+) UTC", done.stdout)


def test_systemd_leaves_out_an_hour_that_is_not_there_and_takes_a_repeated_one_once() -> None:
    berlin = f"*-*-* 02:30:00 {BERLIN}"
    assert calendar(berlin, "2027-03-27 12:00 UTC", 2) == ["2027-03-29 00:30:00", "2027-03-30 00:30:00"]
    assert calendar(berlin, "2027-10-30 12:00 UTC", 2) == ["2027-10-31 00:30:00", "2027-11-01 01:30:00"]


def test_the_timer_elapses_every_night_also_when_clocks_change() -> None:
    when = unit("d2lora-nightly.timer")["Timer"]["OnCalendar"]
    for begin in ("2027-03-26 12:00 UTC", "2027-10-29 12:00 UTC"):
        told = calendar(when, begin, 4)
        days = [datetime.fromisoformat(moment) for moment in told]
        assert [later - earlier for earlier, later in pairwise(days)] == [timedelta(days=1)] * 3


def test_nights_that_a_scheduler_makes_up_are_tonight_and_an_older_one_is_refused() -> None:
    today, begun = date(2027, 5, 10), ["2027-05-05"]
    names = {night_named(None, today) for _missed in range(5)}
    assert names == {"2027-05-10"}
    refuse_replay("2027-05-10", begun)  # the first works, the others find its lease or its end
    with pytest.raises(HeldError, match="is older than the night 2027-05-10"):
        refuse_replay(night_named("2027-05-07", today), [*begun, "2027-05-10"])


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("30 1 * *", "4 fields"),
        ("60 1 * * *", "minute: '60' is not within 0 to 59"),
        ("30 24 * * *", "hour: '24'"),
        ("30 1 0 * *", "day: '0'"),
        ("30 1 * 13 *", "month"),
        ("30 1 * * 8", "weekday"),
        ("*/0 1 * * *", "minute"),
        ("5-1 1 * * *", "minute"),
        ("@daily", "1 fields"),
        ("x 1 * * *", "neither"),
        ("30 1 1 * 1", "or"),
    ],
)
def test_what_is_no_cron_expression_is_refused(expression: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parsed(expression)


def test_fields_are_read() -> None:
    fields = parsed("*/20 1-3 * 1,6 7")
    assert [sorted(fields[name]) for name in ("minute", "hour", "month", "weekday")] == [
        [0, 20, 40], [1, 2, 3], [1, 6], [0]
    ]  # fmt: skip
