"""How much memory this process has held at most, and how much there is for it."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
LIMIT, USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def reset_peak(device: torch.device) -> None:
    """Start to watch anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif CLEAR.exists():
        CLEAR.write_text("5")  # Linux: the high-water mark becomes what is held now


def peak_bytes(device: torch.device) -> int:
    """Return the most bytes held since `reset_peak`; what is held now, where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if STATUS.exists():
        high = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(high.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)


def free_bytes(device: torch.device) -> int:
    """Return what this machine, or the container's limit, still has for new tensors."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    if LIMIT.exists() and (limit := LIMIT.read_text().strip()).isdigit():
        free = min(free, int(limit) - int(USED.read_text()))
    return free
