"""The helper that runs the ranks of a test: failed or hanging ranks end the test, slow or unconnected ranks do not."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from tests.helpers.ranks import STARTS, run_ranks

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


@pytest.mark.parametrize("refused", [1, 2, 5])
def test_ranks_that_gloo_has_not_connected_are_started_again_twice(refused: int, tmp_path: Path) -> None:
    meetings = tmp_path / "meetings"
    meetings.touch()
    meet = (
        f"file = pathlib.Path({str(meetings)!r}); before = file.read_text().splitlines(); "
        "file.write_text(chr(10).join([*before, os.environ['RANKS_MEET_IN']])); "
        f"assert len(before) >= {refused}, 'Gloo connectFullMesh failed with [pair.cc]'"
    )
    rank = ("-n1", "-r1", "-s", "import os, pathlib", meet)
    if refused < STARTS:
        run_ranks("timeit", [rank])
    else:
        with pytest.raises(AssertionError, match="connectFullMesh failed"):
            run_ranks("timeit", [rank])
    files = meetings.read_text().splitlines()
    assert len(files) == len(set(files)) == min(refused + 1, STARTS)


def test_ranks_that_take_longer_than_the_limit_on_idling_are_left_to_work() -> None:
    begin = time.monotonic()
    run_ranks("timeit", [WORK, WORK], idle_seconds=1)
    assert time.monotonic() - begin > 1
