"""CPU seconds of work in this process: what a busy machine disturbs least."""

import time
from collections.abc import Callable


def cpu_seconds(work: Callable[[], object], times: int = 1) -> Callable[[], float]:
    """Return a measurement: do the work ``times`` times, give the CPU seconds of one."""

    def measured() -> float:
        begin = time.process_time()
        for _ in range(times):
            work()
        return (time.process_time() - begin) / times

    return measured
