"""(f) Growth: a training step with lanes, and the planning of a sweep with runs."""

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
ROWS = 8  # of a lane where they fill the machine
SOLO = "1 lane"
SHORT = {"8 lanes": Target(4.5, "at most", SOLO), "32 lanes": Target(18, "at most", SOLO)}
CHOSEN = Target(1.03, "at most", SOLO)
RUNS = (10, 1_000, 100_000)
PLAN_SECONDS, PLAN_MB = 10, 1000


def measure(quick: bool, say: Callable[[str], None]) -> list[Result]:
    """Measure steps of 1 to 32 lanes of one row, steps of 1 to 8 lanes of eight rows, and plans."""
    one_thread()
    rounds = 3 if quick else 9
    widths, steps = ((1, 8, 32), 1) if quick else ((1, 2, 4, 8, 16, 32), 4)
    short = _lanes(widths, 1, rounds, steps, say)
    found = compare(BENCH, f"{LENGTH} tokens a lane", short, reference=SOLO, unit="CPU ms a step", targets=SHORT)
    found += _long((1, 8) if quick else (1, 2, 3, 4, 6, 8), rounds, say)
    for runs in RUNS:
        found += _planned(runs, 1 if quick else 5, say)
    return found


def _long(widths: Sequence[int], rounds: int, say: Callable[[str], None]) -> list[Result]:
    """Cost of a lane's step where the rows of one lane fill the machine: lanes save nothing, wide packs may cost."""
    chosen = probed_width(hidden=HIDDEN, vocab=VOCAB, rows=ROWS, length=LENGTH, answer=ANSWER)
    say(f"{ROWS * LENGTH} tokens a lane: the product's probe would pack {chosen} of 8 runs")
    samples = _lanes(sorted({*widths, chosen}), ROWS, rounds, 1, say)
    each = {name: [one / int(name.split()[0]) for one in found] for name, found in samples.items()}
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
    """Return CPU milliseconds of a step of the product's loop, for each number of lanes."""
    timed = {}
    for lanes in widths:
        timed[_name(lanes)] = cpu_seconds(_training(lanes, rows, steps))
    for measurement in timed.values():
        measurement()
    found = interleave(timed, rounds, say)
    return {name: [1000 * one / steps for one in samples] for name, samples in found.items()}


def _training(lanes: int, rows: int, steps: int) -> Callable[[], None]:
    engine, optim = lane_engine(llama(HIDDEN, VOCAB), lanes, rows)
    return lambda: train(engine, optim, lanes=lanes, steps=steps, length=LENGTH, vocab=VOCAB)


def _name(lanes: int) -> str:
    return SOLO if lanes == 1 else f"{lanes} lanes"


def _planned(runs: int, rounds: int, say: Callable[[str], None]) -> list[Result]:
    """Plan a sweep in a fresh process: its CPU seconds from the start of Python, and its peak memory."""
    command = [sys.executable, "-m", "benchmarks.plan_worker", str(runs)]
    told = [json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for _ in range(rounds)]
    say(f"planning {runs} runs: {told[-1]}")
    case, note = f"planning {runs:,} runs", f"{told[0]['packs']:,} packs; expand, key, pack and estimate"
    seconds, size = (Target(limit, "at most", ITSELF) for limit in (PLAN_SECONDS, PLAN_MB))
    return [
        alone(BENCH, case, "time", [one["seconds"] for one in told], unit="CPU seconds", target=seconds, note=note),
        alone(BENCH, case, "memory", [one["mb"] for one in told], unit="MB at peak", target=size, note=note),
    ]
