"""Peak memory of this process, and what is free."""

from __future__ import annotations

import sys

import pytest
import torch

from orchestrator.memory import free_bytes, peak_bytes, reset_peak

CPU = torch.device("cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="high-water marks are read from /proc")
def test_the_peak_remembers_a_tensor_that_is_gone_until_it_is_reset() -> None:
    reset_peak(CPU)
    before = peak_bytes(CPU)
    torch.ones(32 * 2**20 // 4 * 4)
    peak = peak_bytes(CPU)
    assert peak - before >= 100 * 2**20
    reset_peak(CPU)
    assert peak_bytes(CPU) < peak - 50 * 2**20


def test_there_is_some_memory_left() -> None:
    assert 2**20 < free_bytes(CPU) < 2**50
