"""The memory of this process, on the CPU or on a GPU: its peak, the free memory, and errors that say memory is full."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path
from typing import Any

import psutil
import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
LIMIT, USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")

# Options of glibc's mallopt (malloc.h) with our values: freed memory stays with the process, and tensors of up to 32 MB
# (glibc allows no more) are allocated from the kept memory.
TRIM_THRESHOLD, MMAP_THRESHOLD = (-1, 2**31 - 1), (-3, 2**25)

MARGIN = 0.05  # the share of a GPU's memory left for gaps between blocks and for workspaces of cuBLAS and NCCL


def keep_freed_pages() -> bool:
    """Let the allocator of this process keep freed memory; return whether that worked. Only glibc can do it.

    By default each large tensor of a step on a CPU is made of fresh pages, which the kernel clears first. Clearing
    takes a tenth of a training step's time, or more.
    """
    libc = _glibc()
    return libc is not None and all(libc.mallopt(*option) == 1 for option in (TRIM_THRESHOLD, MMAP_THRESHOLD))


def _glibc() -> Any:
    """Return glibc's functions, or None under another C library or system."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") else None


def let_go(device: torch.device) -> None:
    """Free objects in reference cycles, and on a GPU give back the blocks that torch's allocator keeps."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that a device or this machine has no memory left."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # from torch, on a CPU


def reset_peak(device: torch.device) -> None:
    """Begin a new measurement of `peak_bytes`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    if _glibc() is not None:
        _glibc().malloc_trim(0)  # else kept memory would hide the needs of the next step
    if CLEAR.exists():
        CLEAR.write_text("5")  # Linux: the peak becomes the memory held now


def held_bytes(device: torch.device) -> int:
    """Return the bytes that this process holds now."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def peak_bytes(device: torch.device) -> int:
    """Return the most bytes that this process has held since `reset_peak`; without /proc, the bytes held now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if STATUS.exists():
        peak = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024
    return held_bytes(device)


def free_bytes(device: torch.device) -> int:
    """Return the bytes that this machine, or the limit of its container, still has for new tensors.

    On a GPU torch's allocator first gives back the blocks that it keeps; `MARGIN` of the GPU's memory is subtracted. A
    process with a part of the GPU (`machine.device`) has that part of it.
    """
    if device.type == "cuda":
        let_go(device)
        free, whole = torch.cuda.mem_get_info(device)
        own = torch.cuda.get_per_process_memory_fraction(device) * whole
        return max(0, int(min(free, own - torch.cuda.memory_reserved(device)) - MARGIN * own))
    free = int(psutil.virtual_memory().available)
    if LIMIT.exists() and (limit := LIMIT.read_text().strip()).isdigit():
        free = min(free, int(limit) - int(USED.read_text()))
    return free
