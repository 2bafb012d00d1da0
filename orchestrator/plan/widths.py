"""Pure: how many runs a pack should hold, given the measured cost of a step at some widths."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.recipe.spec import SweepSpec

WORTH = 1.03  # a wider pack must save more than this factor: a failed wide pack loses more, and probes are noisy
ASSUMED = 8  # lanes that the plan job, which measures nothing, assumes for short rows
LONG_SWEEP = 256  # lane steps of a sweep from which on widths are measured: in a shorter one it would take a tenth
SHORT_TOKENS = 256  # tokens per lane and micro step up to which packing pays on the processors that were measured


@dataclass(frozen=True)
class Point:
    """The measured cost of a step of ``lanes`` lanes: its seconds, and the most bytes that its process held."""

    lanes: int
    seconds: float
    bytes: int


def whole_bytes(fewer: int, more: int, layers: tuple[int, int], whole: int) -> int:
    """Return the bytes that ``whole`` layers need, on the line through two measurements.

    ``layers`` are the two numbers of layers that were measured, ``fewer`` and ``more`` the bytes that they needed.
    Bytes that do not grow with layers (the head; with checkpointing, the work within one layer) are counted once.
    """
    each = max(0, more - fewer) / (layers[1] - layers[0])
    return round(more + each * (whole - layers[1]))


def best_width(points: Sequence[Point], *, runs: int, trainers: int, start_seconds: float, steps: int) -> int:
    """Return the smallest width of ``points`` at which ``runs`` runs end within 3 % of the soonest end.

    ``points`` are in ascending lanes, and the first has one lane. A pack costs ``start_seconds`` and ``steps`` steps.
    """
    ends = {
        point.lanes: makespan(points, point.lanes, runs=runs, trainers=trainers, fixed=start_seconds / steps)
        for point in points
        if point.lanes <= runs
    }
    soonest = min(ends.values())
    return next(width for width, end in ends.items() if end <= WORTH * soonest)


def makespan(points: Sequence[Point], width: int, *, runs: int, trainers: int, fixed: float) -> float:
    """Return the seconds of one step of every run, in equal packs of at most ``width`` on ``trainers`` trainers.

    ``fixed`` are the seconds that a pack costs beside its steps, divided by the number of its steps.
    """
    packs = min(runs, math.ceil(math.ceil(runs / width) / trainers) * trainers)
    return math.ceil(packs / trainers) * (step_seconds(points, math.ceil(runs / packs)) + fixed)


def step_seconds(points: Sequence[Point], lanes: int) -> float:
    """Return the seconds of a step of ``lanes`` lanes: measured, or on the line between its neighbours."""
    after = bisect_left([point.lanes for point in points], lanes)
    if after == len(points):
        raise ValueError(f"{lanes} lanes were not measured: the widest are {points[-1].lanes}.")
    high = points[after]
    if high.lanes == lanes:
        return high.seconds
    low = points[after - 1]
    return low.seconds + (high.seconds - low.seconds) * (lanes - low.lanes) / (high.lanes - low.lanes)


def extended(points: Sequence[Point], *, fill: int, most_lanes: int, most_bytes: int) -> list[Point]:
    """Return the points, and expected points of wider steps up to ``most_lanes`` lanes and ``most_bytes`` bytes.

    N lanes cost ``a + b N`` seconds, by the last two points, up to the ``fill`` lanes that one pass through the model
    holds; further lanes go in passes of their own. No point is added if only one width was measured, or if the last
    doubling of the lanes saved nothing. If twice the lanes took less time, no point is added either, because such a
    time is noise of a busy machine, and a falling line would reach negative seconds.
    """
    known = list(points)
    if len(points) < 2 or not _saved(points):
        return known
    before, last = points[-2:]
    each = (last.seconds - before.seconds) / (last.lanes - before.lanes)
    if each <= 0:
        return known
    growth = max(0, last.bytes - before.bytes) / (last.lanes - before.lanes)
    whole = max(fill, last.lanes)
    while (lanes := 2 * known[-1].lanes) <= most_lanes:
        size = last.bytes + round(growth * (lanes - last.lanes))
        if size > most_bytes:
            break
        parts = [whole] * (lanes // whole) + [lanes % whole] * bool(lanes % whole)
        known.append(Point(lanes, sum(last.seconds + each * (part - last.lanes) for part in parts), size))
    return known


def _saved(points: Sequence[Point]) -> bool:
    """Tell whether the last doubling of the lanes made a lane's step cheaper by more than ``WORTH``."""
    before, last = points[-2:]
    return last.seconds / last.lanes <= before.seconds / before.lanes / WORTH


def worth_doubling(points: Sequence[Point], *, most_lanes: int, most_bytes: int, idle_bytes: int) -> bool:
    """Return whether to measure a point with twice the lanes of the last point.

    Yes if a pack may hold so many lanes, if the last doubling made a lane's step cheaper, and if memory has room.

    ``idle_bytes`` are the bytes that the process held before the first step, ``most_bytes`` those that one trainer may
    hold. Memory is taken to grow with the lanes on a line.
    """
    last = points[-1]
    if 2 * last.lanes > most_lanes:
        return False
    if len(points) > 1 and not _saved(points):
        return False
    before = points[-2] if len(points) > 1 else Point(0, 0.0, idle_bytes)
    growth = max(0, last.bytes - before.bytes) / (last.lanes - before.lanes)
    return last.bytes + growth * last.lanes <= most_bytes


def worth_measuring(lane_steps: int) -> bool:
    """Tell whether a sweep is long enough to measure widths; ``lane_steps`` are the steps of all its runs together.

    A measurement takes the time of 15 to 45 lane steps and cannot save more than half of the sweep.
    """
    return lane_steps >= LONG_SWEEP


def measures_widths(spec: SweepSpec, steps: Sequence[int]) -> bool:
    """Return whether a sweep measures how wide packs are; ``steps`` are the optimizer steps of a run of each task.

    On CPUs the whole sweep decides, not one round. GPUs always measure, because memory depends on the width.
    """
    if spec.cluster.pack != "auto":
        return False
    lane_steps = round(sum(steps) / len(steps) * spec.runs_at_most)
    return bool(spec.cluster.gpus_per_worker) or worth_measuring(lane_steps)


def assumed_width(tokens: float) -> int:
    """Return the width to assume for ``tokens`` tokens per lane and micro step where nothing has been measured."""
    return ASSUMED if tokens <= SHORT_TOKENS else 1
