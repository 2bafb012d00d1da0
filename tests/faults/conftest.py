"""The scorecard that all fault tests of a run share; it is written where FAULT_RESULTS says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.scorecard import CARD, Scorecard
from tests.helpers.faults.twins import Twins


@pytest.fixture
def scorecard() -> Scorecard:
    """The counts to which a fault test adds."""
    return CARD


@pytest.fixture
def twins(tmp_path: Path, small_base: Path, scorecard: Scorecard) -> Twins:
    """A sweep undisturbed, and the same sweep to be disturbed."""
    return Twins(tmp_path, small_base, scorecard)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests of this folder as fault tests, which `make faults` runs beside the rare tests."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("slow"):
            item.add_marker("fault")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write and show the scorecard at the end of `make faults`."""
    if place := os.environ.get("FAULT_RESULTS"):
        terminalreporter.section("scorecard")
        terminalreporter.write_line(CARD.written(Path(place) / "scorecard.json"))
