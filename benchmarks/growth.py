"""(f) Growth: how the cost of a training step grows with the lanes, and of planning a sweep with the runs."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence

from benchmarks.lanes import ANSWER, lane_engine, train
from benchmarks.measuring.clock import cpu_seconds
from benchmarks.measuring.measure import ITSELF, Result, Target, alone, compare, interleave
from benchmarks.models import llama, one_thread
from benchmarks.widths import probed_width

BENCH = "growth"
HIDDEN, VOCAB, LENGTH = 512, 8192, 64
ROWS = 8  # rows per lane that alone keep the machine busy
SOLO = "1 lane"
SHORT = {"8 lanes": Target(4.5, "at most", SOLO), "32 lanes": Target(18, "at most", SOLO)}
CHOSEN = Target(1.03, "at most", SOLO)
RUNS = (10, 1_000, 100_000)
PLAN_SECONDS, PLAN_MB = 10, 1000


def measure(quick: bool, say: Callable[[str], None]) -> list[Result]:
    """Measure steps of 1 to 32 lanes with one row each, steps of 1 to 8 lanes with eight rows each, and planning."""
    one_thread()
    rounds = 3 if quick else 9
    widths, steps = ((1, 8, 32), 1) if quick else ((1, 2, 4, 8, 16, 32), 4)
    short = _lanes(widths, 1, rounds, steps, say)
    results = compare(BENCH, f"{LENGTH} tokens a lane", short, reference=SOLO, unit="CPU ms a step", targets=SHORT)
    results += _long((1, 8) if quick else (1, 2, 3, 4, 6, 8), rounds, say)
    for runs in RUNS:
        results += _planned(runs, 1 if quick else 5, say)
    return results


def _long(widths: Sequence[int], rounds: int, say: Callable[[str], None]) -> list[Result]:
    """Return rows of the CPU time per lane and step for lanes whose rows keep the machine busy: packs save nothing."""
    chosen = probed_width(hidden=HIDDEN, vocab=VOCAB, rows=ROWS, length=LENGTH, answer=ANSWER)
    say(f"{ROWS * LENGTH} tokens a lane: the product's probe would pack {chosen} of 8 runs")
    samples = _lanes(sorted({*widths, chosen}), ROWS, rounds, 1, say)
    each = {name: [value / int(name.split()[0]) for value in values] for name, values in samples.items()}
    return compare(
        BENCH,
        f"{ROWS * LENGTH} tokens a lane",
        each,
        reference=SOLO,
        unit="CPU ms a lane and step",
        targets={_name(chosen): CHOSEN},
        notes={_name(chosen): "the width that the product's own probe chooses for 8 runs"},
    )


def _lanes(
    widths: Sequence[int], rows: int, rounds: int, steps: int, say: Callable[[str], None]
) -> dict[str, list[float]]:
    """Return by number of lanes the CPU milliseconds of a step of this project's training loop, once per round."""
    timed = {}
    for lanes in widths:
        timed[_name(lanes)] = cpu_seconds(_training(lanes, rows, steps))
    for measurement in timed.values():
        measurement()
    samples = interleave(timed, rounds, say)
    return {name: [1000 * seconds / steps for seconds in values] for name, values in samples.items()}


def _training(lanes: int, rows: int, steps: int) -> Callable[[], None]:
    engine, optim = lane_engine(llama(HIDDEN, VOCAB), lanes, rows)
    return lambda: train(engine, optim, lanes=lanes, steps=steps, length=LENGTH, vocab=VOCAB)


def _name(lanes: int) -> str:
    return SOLO if lanes == 1 else f"{lanes} lanes"


def _planned(runs: int, rounds: int, say: Callable[[str], None]) -> list[Result]:
    """Plan a sweep in a fresh process; return rows of the process's CPU seconds, with Python's start, and memory."""
    command = [sys.executable, "-m", "benchmarks.workers.plan_worker", str(runs)]
    told = [json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for _ in range(rounds)]
    say(f"planning {runs} runs: {told[-1]}")
    case, note = f"planning {runs:,} runs", f"{told[0]['packs']:,} packs; expand, key, pack and estimate"
    seconds, size = (Target(limit, "at most", ITSELF) for limit in (PLAN_SECONDS, PLAN_MB))
    return [
        alone(BENCH, case, "time", [one["seconds"] for one in told], unit="CPU seconds", target=seconds, note=note),
        alone(BENCH, case, "memory", [one["mb"] for one in told], unit="MB at peak", target=size, note=note),
    ]
