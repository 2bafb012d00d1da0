"""What the tests of jobs share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.folders import Made


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path, str(tmp_path / "sweeps"))
