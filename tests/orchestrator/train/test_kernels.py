"""A step launches few kernels and reads the device once, whichever engine steps it: on GPUs each costs its time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.places import ROOT
from tests.helpers.programs.kernel_counts import LAYERS

pytestmark = pytest.mark.slow
WORKER = ROOT / "tests" / "helpers" / "programs" / "kernel_counts.py"
MODULE = "tests.helpers.programs.kernel_counts"


def counts(tmp_path: Path, *words: str) -> dict[str, dict[str, int]]:
    """Return what a step of one pass, and of two, launches and reads; in a process of its own, for DeepSpeed's sake."""
    out = tmp_path / f"{'-'.join(words)}.json"
    command = [sys.executable, "-W", "ignore", "-m", MODULE, *words, str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(out.read_text())


def test_zero_launches_little_more_than_plain_and_both_read_the_device_once(tmp_path: Path) -> None:
    plain, zero = (counts(tmp_path, kind, "d2lora", "float32") for kind in ("plain", "2"))
    for passes in ("1", "2"):
        assert zero[passes]["kernels"] <= 1.3 * plain[passes]["kernels"]
        assert zero[passes]["reads"] <= 2
        assert plain[passes]["reads"] <= 2
    assert plain["2"]["kernels"] - plain["1"]["kernels"] <= 45 * LAYERS


def test_half_precision_launches_at_most_a_quarter_more(tmp_path: Path) -> None:
    """It adds up in float32 what float32 adds up in place: some five conversions a layer and pass."""
    plain, half = (counts(tmp_path, "plain", "d2lora", dtype) for dtype in ("float32", "bfloat16"))
    assert half["2"]["kernels"] <= 1.25 * plain["2"]["kernels"]
    assert half["2"]["reads"] <= 2
