"""Processes that are the ranks of one world, for tests of engines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from tests.helpers.places import ROOT


def run_ranks(module: str, words: Sequence[Sequence[object]], seconds: float) -> None:
    """Run ``python -m module`` once per rank, with the words of each rank; fail with the ends of all logs."""
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module, *map(str, own)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for own in words
    ]
    logs = [rank.communicate(timeout=seconds)[0] for rank in ranks]
    assert all(rank.returncode == 0 for rank in ranks), "\n".join(log[-3000:] for log in logs)
