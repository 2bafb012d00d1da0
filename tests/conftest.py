"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.places import SHARED

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from tests.helpers.sweeps import recipe, small_base  # noqa: F401 - fixtures, after the environment is set


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference material beside the checkout; tests that need it are skipped where it is not."""
    if not SHARED.is_dir():
        pytest.skip(f"reference material is not at {SHARED}")
    return SHARED


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """Chromium with a profile of its own."""
    from tests.helpers.browser import chromium  # here: few tests need Selenium

    with chromium(tmp_path / "profile") as opened:
        yield opened
