"""The helper that runs the ranks of a test: a rank that fails or hangs ends the test, a rank that is slow does not."""

from __future__ import annotations

import time

import psutil
import pytest

from tests.helpers.ranks import run_ranks

SLEEP = ("-n1", "-r1", "import time; time.sleep(300)")
FAIL = ("-n1", "-r1", "raise SystemExit('no rendezvous')")
WORK = ("-n1", "-r1", "-s", "import time", "while time.process_time() < 2: pass")


def test_a_rank_that_fails_ends_the_others_at_once_and_its_log_is_shown() -> None:
    begin = time.monotonic()
    with pytest.raises(AssertionError) as caught:
        run_ranks("timeit", [SLEEP, FAIL])
    of_sleeper, of_failed = str(caught.value).split("rank 1, exit code 1:")
    assert of_sleeper.startswith("rank 0, exit code -9:")
    assert "SystemExit: no rendezvous" in of_failed
    assert time.monotonic() - begin < 100
    assert not psutil.Process().children()


def test_ranks_that_wait_for_each_other_are_ended() -> None:
    with pytest.raises(AssertionError, match=r"used no CPU time for 2 s:\nrank 0, exit code -9"):
        run_ranks("timeit", [SLEEP, SLEEP], idle_seconds=2)
    assert not psutil.Process().children()


def test_ranks_that_take_longer_than_the_limit_on_idling_are_left_to_work() -> None:
    begin = time.monotonic()
    run_ranks("timeit", [WORK, WORK], idle_seconds=1)
    assert time.monotonic() - begin > 1
