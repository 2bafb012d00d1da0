"""What a trainer's process uses while it trains a pack: memory at its peak, and processor time."""

from __future__ import annotations

import time
from contextlib import suppress

import torch

from orchestrator.machine.memory import peak_bytes, reset_peak

MEGABYTE = 1_000_000


class Usage:
    """Watches this process from now on.

    A pack's runs share one process, so its numbers are the pack's: each run gets them as they stand when it ends, with
    the number of runs that shared them. On several ranks they are those of rank 0.
    """

    def __init__(self, device: torch.device, runs: int) -> None:
        self.device, self.runs = device, runs
        with suppress(OSError):  # where Linux forbids it the peak is since the process began: too high, never too low
            reset_peak(device)
        self.begun = time.process_time()

    def until_now(self) -> dict[str, float]:
        """Return the process's peak memory (on a GPU: there), its processor seconds over all threads, and its runs."""
        peak = round(peak_bytes(self.device) / MEGABYTE, 1)
        return {
            "peak_memory_megabytes": peak,
            "cpu_seconds": round(time.process_time() - self.begun, 3),
            "runs": self.runs,
        }
