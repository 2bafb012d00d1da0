"""Peak memory of this process, and what is free."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from orchestrator.machine.memory import MARGIN, free_bytes, out_of_memory, peak_bytes, reset_peak

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


def test_a_gpus_free_memory_counts_what_the_allocator_kept_and_leaves_a_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, kept, share = 80 * 2**30, [30 * 2**30], 1.0
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda _: share)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 5 * 2**30 + sum(kept))
    monkeypatch.setattr(torch.cuda, "empty_cache", kept.clear)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (whole - 20 * 2**30 - sum(kept), whole))
    assert free_bytes(torch.device("cuda")) == int(60 * 2**30 - MARGIN * whole)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10, whole))
    assert free_bytes(torch.device("cuda")) == 0
    share = 0.25  # of 20 GB this process holds 5
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (whole - 20 * 2**30, whole))
    assert free_bytes(torch.device("cuda")) == int(15 * 2**30 - MARGIN * whole / 4)


def test_errors_of_memory_are_told_from_others() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert out_of_memory(caught.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert out_of_memory(MemoryError())
    assert not out_of_memory(RuntimeError("The size of tensor a must match"))
    assert not out_of_memory(ValueError("can't allocate memory"))


FAULTS = """
import ctypes, resource, torch
from orchestrator.machine.memory import keep_freed_pages
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
