"""CPU seconds of work in this process, which other processes disturb less than seconds on the clock."""

import time
from collections.abc import Callable


def cpu_seconds(work: Callable[[], object], times: int = 1) -> Callable[[], float]:
    """Return a function that does ``work`` ``times`` times and returns the CPU seconds of doing it once."""

    def measured() -> float:
        begin = time.process_time()
        for _ in range(times):
            work()
        return (time.process_time() - begin) / times

    return measured
