"""Peak memory of this process, and what is free."""

from __future__ import annotations

import subprocess
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


FAULTS = """
import ctypes, resource, torch
from orchestrator.memory import keep_freed_pages
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        torch.ones(2**19)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
ctypes.CDLL(None).mallopt(-3, 2**17)
print(faults())
assert keep_freed_pages()
faults()
print(faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc's allocator is asked")
def test_freed_pages_are_used_again() -> None:
    """A tensor of 2 MB, fifty times; glibc is told to take each from the system, as it does at first by itself."""
    fresh, kept = subprocess.check_output([sys.executable, "-W", "ignore", "-c", FAULTS], text=True).split()
    assert int(fresh) >= 50
    assert int(kept) < int(fresh) / 10
