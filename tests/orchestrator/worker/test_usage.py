"""What a trainer says that it used: its own memory and processor time, from when it began."""

from __future__ import annotations

import time

import torch

from orchestrator.worker.usage import MEGABYTE, Usage


def test_the_peak_covers_what_was_freed_and_the_next_pack_begins_anew() -> None:
    usage = Usage(torch.device("cpu"), runs=3)
    before = usage.until_now()["peak_memory_megabytes"]
    held = torch.ones(100 * MEGABYTE // 4)
    del held
    after = usage.until_now()["peak_memory_megabytes"]
    assert after - before > 90
    assert Usage(torch.device("cpu"), runs=1).until_now()["peak_memory_megabytes"] < after - 50


def test_processor_seconds_are_work_and_not_waiting() -> None:
    usage = Usage(torch.device("cpu"), runs=1)
    time.sleep(0.3)
    waited = usage.until_now()["cpu_seconds"]
    assert waited < 0.2
    begun = time.process_time()
    while time.process_time() - begun < 0.3:
        sum(range(1000))
    worked = usage.until_now()
    assert worked["cpu_seconds"] >= waited + 0.29
    assert worked["runs"] == 1
