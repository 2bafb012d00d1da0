import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.measuring.tree_cost import ROOT, FailedError, total_seconds, tree_cost

BURN = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\n"
ORPHAN = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {BURN!r}])\n"


def test_the_larger_account_counts():
    assert total_seconds({(1, 0.0): 1.0, (2, 0.0): 2.0}, 2.5) == 3.0
    assert total_seconds({(1, 0.0): 1.0}, 2.5) == 2.5


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to an ancestor")
def test_what_a_child_that_nobody_waits_for_has_used_is_counted(tmp_path: Path):
    cost = tree_cost([sys.executable, "-c", ORPHAN], tmp_path / "log.txt", limit=60)
    assert 0.4 <= cost.cpu < 5


def test_a_command_that_fails_says_what_it_said(tmp_path: Path):
    with pytest.raises(FailedError, match="ended with 3:\nno luck"):
        tree_cost([sys.executable, "-c", "print('no luck'); raise SystemExit(3)"], tmp_path / "log.txt", limit=60)


def test_a_command_past_its_limit_is_ended_with_what_it_has_started(tmp_path: Path):
    sleeper = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(99)'])"
    with pytest.raises(FailedError, match="124"):
        tree_cost([sys.executable, "-c", sleeper], tmp_path / "log.txt", limit=0.5)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has ended")
def test_nothing_outlives_the_bench_that_started_it(tmp_path: Path):
    sleeper = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(99)"]
    call = f"tree_cost({sleeper!r}, Path({str(tmp_path / 'log.txt')!r}), limit=60)"
    bench = f"from benchmarks.measuring.tree_cost import *\n{call}"
    started = subprocess.Popen([sys.executable, "-c", bench], cwd=ROOT)
    pid = until(lambda: (tmp_path / "log.txt").exists() and (tmp_path / "log.txt").read_text().strip())
    started.kill()
    started.wait()
    until(lambda: not psutil.pid_exists(int(pid)))


def until(condition):
    for _ in range(200):
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError("it has not happened in 20 seconds")
