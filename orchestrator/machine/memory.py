"""How much memory this process has held at most, how much there is for it, and how it keeps what is freed."""

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


# mallopt's options (glibc's malloc.h) and our values: what is freed stays, and up to the 32 MB that it allows at most,
# a tensor comes from what was kept
TRIM_THRESHOLD, MMAP_THRESHOLD = (-1, 2**31 - 1), (-3, 2**25)


FULL = "memory is full"  # of our own errors
MARGIN = 0.05  # of a GPU's memory: gaps between blocks, and workspaces of cuBLAS and NCCL


def keep_freed_pages() -> bool:
    """Let this process's allocator keep what is freed, and tell whether it can: only glibc's is asked.

    By default every large tensor of a step on a CPU is made of fresh pages, which the kernel clears first: a tenth of
    a training step's time, and more.
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
    """Free what is no longer named, in circles too, and on a GPU give back the blocks that its allocator keeps."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that a device, or this machine, has no memory left."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's, on a CPU


def is_about_memory(text: str) -> bool:
    """Tell whether the words of an error, which may be another process's, say that memory was full."""
    return any(words in text for words in ("OutOfMemoryError", "can't allocate memory", FULL))


def reset_peak(device: torch.device) -> None:
    """Start to watch anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    if _glibc() is not None:
        _glibc().malloc_trim(0)  # or what was kept would hide what the next step needs
    if CLEAR.exists():
        CLEAR.write_text("5")  # Linux: the high-water mark becomes what is held now


def held_bytes(device: torch.device) -> int:
    """Return the bytes that this process holds now."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def peak_bytes(device: torch.device) -> int:
    """Return the most bytes held since `reset_peak`; what is held now, where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if STATUS.exists():
        high = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(high.split()[1]) * 1024
    return held_bytes(device)


def free_bytes(device: torch.device) -> int:
    """Return what this machine, or the container's limit, still has for new tensors.

    On a GPU without the blocks that the allocator has kept, which it would use first, and less a `MARGIN`.
    """
    if device.type == "cuda":
        let_go(device)
        free, whole = torch.cuda.mem_get_info(device)
        return max(0, int(free - MARGIN * whole))
    free = int(psutil.virtual_memory().available)
    if LIMIT.exists() and (limit := LIMIT.read_text().strip()).isdigit():
        free = min(free, int(limit) - int(USED.read_text()))
    return free
