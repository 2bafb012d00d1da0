"""A tensor is summed over the ranks that meet at a door, and a rank alone has its own values."""

from __future__ import annotations

import os

import pytest

from orchestrator.cluster.exchange import all_reduce_seconds
from orchestrator.cluster.trainers.interface import VARIABLES
from tests.helpers.servers import free_port


def test_a_rank_alone_takes_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, os.environ.get(name, "lo"))
    seconds = all_reduce_seconds(0, 1, f"tcp://127.0.0.1:{free_port()}", 1, False, "127.0.0.1")
    assert 0 <= seconds < 5
