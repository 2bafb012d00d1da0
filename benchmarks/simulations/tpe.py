"""TPE on invented results: how far the chosen setting is behind the grid's best, for TPE and for random choice.

    python -m benchmarks.simulations.tpe [SEARCHES]     # a Markdown table; 200 searches per row, about 5 minutes

A setting's level falls with the square of its distance to its method's best rate, rank and tau, and the best rate moves
with the rank. The accuracy of a run is this level, plus an effect of its seed on all settings, plus noise of its own.
Rates far above the best diverge. TPE and random choice see the same results; both take the best mean over the seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.recipe.sections import MethodSpec
from orchestrator.search.space import space_of
from orchestrator.search.tpe import TpeInput, decide

SEARCHES = 200
TRIALS = (8, 16, 32)
LEVEL, CHANCE = 0.7, 0.25  # accuracies: of the best setting of the best method, and of settings that learn nothing
SHARED = 1.0  # standard deviation of a seed's effect on all settings alike, in points
STEEP = {"rate": 40.0, "rank": 4.0, "tau": 4.0}  # points lost from one end of an axis to the other
BEHIND = 3.0  # the most points that the best setting of a method lies below `LEVEL`
MOVES = 0.3  # how far the best rate moves from the smallest to the largest rank, as a share of the axis of rates
DIVERGES = 0.4  # how far above the best rate rates diverge, as a share of the axis of rates


@dataclass(frozen=True)
class Case:
    """A grid: per method the numbers of its ranks and taus; the number of rates of all methods; noise in points."""

    name: str
    methods: tuple[tuple[int, int], ...]
    rates: int = 8
    seeds: int = 3
    noise: float = 1.0
    shuffled: bool = False  # whether levels are permuted over the settings, so that neighbours are not alike


@dataclass(frozen=True)
class Found:
    """Mean points by which the true level of the chosen setting is below the grid's best, per kind of search."""

    tpe: float
    random: float
    grid: float


def simulate(case: Case, trials: int, searches: int, seed: int = 0) -> Found:
    """Simulate ``searches`` searches of ``trials`` settings on the case; equal seeds give equal searches."""
    settings = _settings(case)
    names = tuple(str(number) for number in range(len(settings)))
    space, seeds = space_of(settings), tuple(range(case.seeds))
    regrets = []
    for number in range(searches):
        random = np.random.default_rng([seed, number])
        levels = _levels(case, settings, random)
        results = _results(case, levels, random)
        values = np.nan_to_num(results).mean(axis=1)
        scores = {
            (name, s): None if np.isnan(one) else float(one)
            for name, row in zip(names, results, strict=True)
            for s, one in enumerate(row)
        }
        best = decide(TpeInput(names, space, seeds, trials, 4, number), scores).best
        drawn = random.permutation(len(names))[:trials]
        chosen = (int(best[0]) if best else 0, drawn[values[drawn].argmax()], values.argmax())
        regrets.append([100 * (levels.max() - levels[one]) for one in chosen])
    return Found(*map(float, np.mean(regrets, axis=0)))


def _settings(case: Case) -> list[tuple[MethodSpec, float]]:
    """Return every setting of the grid: each method with each of its ranks and taus, at each rate."""
    methods = [
        MethodSpec(name=f"method{number}", settings={"rank": rank, "tau": tau}, label="", targets="")
        for number, (ranks, taus) in enumerate(case.methods)
        for rank in range(ranks)
        for tau in range(taus)
    ]
    return [(method, 0.001 * (rate + 1)) for method in methods for rate in range(case.rates)]


def _levels(
    case: Case, settings: Sequence[tuple[MethodSpec, float]], random: np.random.Generator
) -> NDArray[np.float64]:
    """Draw random levels; return the true accuracy of each setting, 0 for a setting that diverges."""
    points = {}
    for number, (ranks, taus) in enumerate(case.methods):
        behind = BEHIND * random.random()
        best_rate, best_rank, best_tau = random.uniform(0.2, 0.8, size=3)
        rate, rank, tau = np.meshgrid(*(_places(size) for size in (case.rates, ranks, taus)), indexing="ij")
        off = rate - best_rate - MOVES * (rank - best_rank)
        lost = STEEP["rate"] * off**2 + STEEP["rank"] * (rank - best_rank) ** 2 + STEEP["tau"] * (tau - best_tau) ** 2
        level = np.maximum(LEVEL - (behind + lost) / 100, CHANCE)
        points[f"method{number}"] = np.where(off > DIVERGES, 0.0, level)
    levels = np.array(
        [
            points[method.name][round(1000 * rate) - 1, method.settings["rank"], method.settings["tau"]]
            for method, rate in settings
        ]
    )
    return random.permutation(levels) if case.shuffled else levels


def _places(size: int) -> NDArray[np.float64]:
    return np.linspace(0, 1, size) if size > 1 else np.array([0.5])


def _results(case: Case, levels: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Return the accuracy of each run, of shape (settings, seeds); NaN for settings that diverge."""
    noise = SHARED * random.normal(size=(1, case.seeds)) + case.noise * random.normal(size=(len(levels), case.seeds))
    results: NDArray[np.float64] = np.clip(levels[:, None] + noise / 100, 0, 1)
    results[levels == 0] = np.nan
    return results


CASES = [
    Case("one method: 8 rates, 6 ranks", ((6, 1),)),
    Case("three methods: 8 rates, 6 ranks, one with 4 taus", ((6, 4), (6, 1), (6, 1))),
    Case("the same, noise of 3 points", ((6, 4), (6, 1), (6, 1)), noise=3.0),
    Case("the same grid, levels dealt out at random", ((6, 4), (6, 1), (6, 1)), shuffled=True),
]


def table(cases: Sequence[Case], searches: int) -> Iterator[str]:
    """Yield the lines of the Markdown table, one row per case and number of trials."""
    yield "| grid of a task | settings | tried | TPE | random | whole grid |"
    yield "|---|---|---|---|---|---|"
    for case in cases:
        for trials in TRIALS:
            one = simulate(case, trials, searches)
            cells = [case.name, str(len(_settings(case))), str(trials)]
            yield f"| {' | '.join(cells + [f'{points:.1f}' for points in (one.tpe, one.random, one.grid)])} |"


if __name__ == "__main__":
    for line in table(CASES, int(sys.argv[1]) if len(sys.argv) > 1 else SEARCHES):
        print(line, flush=True)  # noqa: T201 - the table is the output of this command
