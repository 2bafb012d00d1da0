"""Racing on invented results: how often a race drops a setting as good as the best, and how many runs it saves.

    python -m benchmarks.simulations.racing [RACES]   # a Markdown table; 2,000 races per row, about 4 minutes

Gaps and noise are in points. The accuracy of a run is its setting's level, plus an effect of its seed on all settings,
plus noise of its own. In some cases the noise has heavy tails, accuracies are counts over few items, or runs diverge.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.search.racing import Race, decide

RACES = 2000
LEVEL = 0.7  # the best setting's accuracy
SHARED = 1.0  # standard deviation of a seed's effect on all settings alike, in points
UNLUCKY = 10.0  # points that an unlucky seed costs


@dataclass(frozen=True)
class Case:
    """A field of settings: their gaps to the best, and their noise (one value for all, or one per setting)."""

    name: str
    settings: int
    seeds: int
    gaps: tuple[float, ...]
    noises: tuple[float, ...] = (1.0,)
    tails: Literal["normal", "heavy"] = "normal"
    items: int | None = None  # validation items: accuracies are counts
    diverges: float = 0.0  # the probability that a run of the best settings diverges
    unlucky: float = 0.0  # the probability that a run loses many points
    resolve: float = 0.0


@dataclass(frozen=True)
class Found:
    """The outcome of a case over ``races`` races, in shares.

    error      the share of races that dropped a setting as good as the best
    kept_best  the share of races that kept at least one of the best settings
    saved      the share of the grid's runs that were not trained
    """

    races: int
    error: float
    kept_best: float
    saved: float


def simulate(case: Case, races: int, seed: int = 0) -> Found:
    """Simulate ``races`` races of the case; equal seeds give equal races."""
    random = np.random.default_rng(seed)
    names = tuple(map(str, range(case.settings)))
    best = {name for name, gap in zip(names, case.gaps, strict=True) if gap == min(case.gaps)}
    race = Race(names, tuple(range(case.seeds)), resolve=case.resolve / 100)
    errors, kept, trained = 0, 0, 0
    for _ in range(races):
        grid = _results(case, random)
        decision = decide(race, {(name, s): one for name, row in zip(names, grid, strict=True) for s, one in row})
        errors += bool(best & decision.dropped.keys())
        kept += bool(best & set(decision.active))
        out = sum(one.seeds for one in decision.dropped.values())
        stayed = case.seeds if decision.outcome == "seeds spent" else decision.looked
        trained += out + len(decision.active) * stayed
    return Found(races, errors / races, kept / races, 1 - trained / (races * case.settings * case.seeds))


def _results(case: Case, random: np.random.Generator) -> list[list[tuple[int, float | None]]]:
    """Return for each setting its seeds, each with the accuracy of its run; None if the run diverged."""
    shape = (case.settings, case.seeds)
    noise = random.standard_t(3, shape) / np.sqrt(3) if case.tails == "heavy" else random.normal(size=shape)
    points = SHARED * random.normal(size=(1, case.seeds)) + np.array(case.noises)[:, None] * noise
    points -= np.array(case.gaps)[:, None] + UNLUCKY * (random.random(shape) < case.unlucky)
    values: NDArray[np.float64] = np.clip(LEVEL + points / 100, 0, 1)
    if case.items:
        values = np.round(values * case.items) / case.items
    at_the_top = np.array(case.gaps)[:, None] == min(case.gaps)
    lost = at_the_top & (random.random(shape) < case.diverges)
    return [
        [(seed, None if lost[setting, seed] else float(values[setting, seed])) for seed in range(case.seeds)]
        for setting in range(case.settings)
    ]


def _spaced(settings: int, last: float) -> tuple[float, ...]:
    return tuple(map(float, np.linspace(0, last, settings)))


def _rates(settings: int) -> tuple[float, ...]:
    """Return the gaps of a usual grid of rates: a quarter each of 0, 1, 8 and 25 points behind the best."""
    return tuple(float(gap) for gap in np.repeat([0, 1, 8, 25], settings // 4))


CASES = [
    Case("all tied", 2, 8, (0,) * 2),
    Case("all tied", 4, 8, (0,) * 4),
    Case("all tied", 12, 10, (0,) * 12),
    Case("all tied, noise of 5 points", 4, 20, (0,) * 4, noises=(5.0,)),
    Case("all tied, noise of 0.2 points", 8, 10, (0,) * 8, noises=(0.2,)),
    Case("all tied, noise from 0.3 to 5 points", 8, 10, (0,) * 8, noises=tuple(np.geomspace(0.3, 5, 8))),
    Case("best is 5 times as noisy, rest 0.2 behind", 8, 10, (0, *(0.2,) * 7), noises=(5.0, *(1.0,) * 7)),
    Case("all tied, heavy tails (Student, 3 df)", 4, 10, (0,) * 4, tails="heavy"),
    Case("all tied, one run in ten loses 10 points", 4, 10, (0,) * 4, unlucky=0.1),
    Case("all tied, 50 validation items", 4, 10, (0,) * 4, items=50),
    Case("all tied, one run in ten diverges", 4, 10, (0,) * 4, diverges=0.1),
    Case("grid of rates: 0, 1, 8, 25 points behind", 4, 5, _rates(4)),
    Case("grid of rates: 0, 1, 8, 25 points behind", 4, 10, _rates(4)),
    Case("grid of rates: 0, 1, 8, 25 points behind", 12, 5, _rates(12)),
    Case("grid of rates: 0, 1, 8, 25 points behind", 12, 10, _rates(12)),
    Case("grid of rates: 0, 1, 8, 25 points behind", 12, 20, _rates(12)),
    Case("grid of rates: 0, 1, 8, 25 points behind", 32, 10, _rates(32)),
    Case("the same, noise of 3 points", 12, 10, _rates(12), noises=(3.0,)),
    Case("evenly 0 to 10 points behind", 12, 10, _spaced(12, 10)),
    Case("all tied, 3 points matter", 4, 20, (0,) * 4, resolve=3.0),
]


def table(cases: Sequence[Case], races: int) -> Iterator[str]:
    """Yield the lines of the Markdown table, one row per case."""
    yield "| settings of a task | K | seeds | a setting tied with the best dropped | a best still in | runs saved |"
    yield "|---|---|---|---|---|---|"
    for case in cases:
        one = simulate(case, races)
        shares = (one.error, one.kept_best, one.saved)
        cells = [case.name, str(case.settings), str(case.seeds), *(f"{100 * share:.1f} %" for share in shares)]
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    for line in table(CASES, int(sys.argv[1]) if len(sys.argv) > 1 else RACES):
        print(line, flush=True)  # noqa: T201 - the table is the output of this command
