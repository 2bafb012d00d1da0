"""A run that is struck at any system call that changes a file is whole or not there, and goes on (K1 and K2)."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.places import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cc") is None or sys.platform != "linux", reason="needs a C compiler and Linux"),
]


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that counts the calls and strikes."""
    built = tmp_path_factory.mktemp("shim") / "durable_calls.so"
    source = Path(__file__).with_name("durable_calls.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", built, source, "-ldl"], check=True)
    return built


@pytest.mark.parametrize(
    ("error", "always"),
    [
        pytest.param(0, False, id="kill"),
        pytest.param(errno.ENOSPC, True, id="disk full from then on", marks=pytest.mark.rare),
        pytest.param(errno.ENOSPC, False, id="disk full once", marks=pytest.mark.rare),
        pytest.param(errno.EIO, True, id="disk broken from then on", marks=pytest.mark.rare),
        pytest.param(errno.EIO, False, id="disk broken once", marks=pytest.mark.rare),
    ],
)
def test_a_run_that_is_struck_at_any_call_loses_nothing_that_was_saved(
    shim: Path, tmp_path: Path, error: int, always: bool
) -> None:
    words = [str(shim), str(tmp_path), str(error), str(int(always))]
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.programs.every_call", *words],
        cwd=ROOT,
        env=os.environ | {"LD_PRELOAD": str(shim), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    outcome = json.loads(done.stdout)
    assert outcome["wrong"] == []
    assert outcome["strikes"] > 90
