"""(d) Peak memory (PSS of the process tree) of one run, of 8 lanes in one process, and of 8 processes of one run."""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.measuring.measure import Result, Target, compare, interleave
from benchmarks.measuring.pss import tree_pss
from benchmarks.models import llama

BENCH = "memory"
HIDDEN, VOCAB = 512, 8192
RUNS = 8
ONE, LANES, PROCESSES = "one run", f"{RUNS} lanes in one process", f"{RUNS} processes of one run"
EVERY_SECONDS = 0.03
TARGETS = {LANES: [Target(1.6, "at most", ONE), Target(1 / 3, "at most", PROCESSES)]}
NOTES = {
    ONE: "rows of 64 tokens, 8 a micro batch and lane; imports and the base counted",
    PROCESSES: "all train at the same time; pages that they share are counted once",
}


def measure(quick: bool, say: Callable[[str], None]) -> list[Result]:
    """Return each arm's peak memory, measured while it trains; all arms load the same model from disk."""
    rounds, steps = (1, 3) if quick else (5, 6)
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
        model = Path(folder)
        llama(HIDDEN, VOCAB).save_pretrained(model)
        arms = {
            ONE: lambda: peak_mb(model, [1], steps),
            LANES: lambda: peak_mb(model, [RUNS], steps),
            PROCESSES: lambda: peak_mb(model, [1] * RUNS, steps),
        }
        samples = interleave(arms, rounds, say)
    case = f"hidden {HIDDEN}, V = {VOCAB}, D2-LoRA"
    return compare(BENCH, case, samples, reference=ONE, unit="MB at peak", targets=TARGETS, notes=NOTES)


def peak_mb(model: Path, lanes: Sequence[int], steps: int) -> float:
    """Start a worker per entry of ``lanes``, let all train at once, and return the peak of their joint memory in MB."""
    peak = _Peak()
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(model, count, steps)) for count in lanes]
        stack.callback(_end, workers)
        watcher = threading.Thread(target=peak.watch, args=([worker.pid for worker in workers],), daemon=True)
        watcher.start()
        stack.callback(peak.stop, watcher)
        for word in ("ready", "done"):
            for worker in workers:
                _expect(worker, word)
            for worker in workers:
                _tell(worker)
    return peak.bytes / 1e6


class _Peak:
    """The largest memory of a set of processes and their descendants, read every `EVERY_SECONDS`."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()

    def watch(self, pids: Sequence[int]) -> None:
        while not self._over.wait(EVERY_SECONDS):
            self.bytes = max(self.bytes, tree_pss(pids))

    def stop(self, watcher: threading.Thread) -> None:
        self._over.set()
        watcher.join()


def _worker(model: Path, lanes: int, steps: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.workers.memory_worker", str(model), str(lanes), str(steps)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _expect(worker: subprocess.Popen[str], word: str) -> None:
    assert worker.stdout is not None  # noqa: S101 - it was asked for
    said = worker.stdout.readline().strip()
    if said != word:
        raise RuntimeError(f"a worker said {said!r} instead of {word!r} (exit code {worker.poll()})")


def _tell(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None  # noqa: S101 - it was asked for
    worker.stdin.write("go\n")
    worker.stdin.flush()


def _end(workers: Sequence[subprocess.Popen[str]]) -> None:
    """Wait for the workers to end; kill a worker that does not end within 30 seconds, as after an error."""
    for worker in workers:
        try:
            worker.wait(timeout=30)
        except subprocess.TimeoutExpired:
            worker.kill()
