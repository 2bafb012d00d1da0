"""The peak memory and the processor time of a trainer's process while it trains a pack."""

from __future__ import annotations

import time
from contextlib import suppress

import torch

from orchestrator.machine.memory import peak_bytes, reset_peak

MEGABYTE = 1_000_000


class Usage:
    """Measures this process from the moment at which the object is made.

    The runs of a pack share one process, so all figures are the pack's. Each run records the figures at its own end,
    with the number of runs that shared the process. With several ranks the figures of rank 0 are recorded.
    """

    def __init__(self, device: torch.device, runs: int) -> None:
        self._device, self._runs = device, runs
        with suppress(
            OSError
        ):  # if Linux forbids a reset, the peak counts from the start of the process: never too low
            reset_peak(device)
        self._begin = time.process_time()

    def until_now(self) -> dict[str, float]:
        """Return the peak memory (of the GPU, if there is one), the processor seconds of all threads, and the runs."""
        peak = round(peak_bytes(self._device) / MEGABYTE, 1)
        return {
            "peak_memory_megabytes": peak,
            "cpu_seconds": round(time.process_time() - self._begin, 3),
            "runs": self._runs,
        }
