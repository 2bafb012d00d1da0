"""Early stopping on invented learning curves: how often the best setting keeps all its seeds, and the steps saved.

    python -m benchmarks.simulations.halving [SWEEPS]     # a Markdown table; 2,000 sweeps per row, a minute

A setting's accuracy rises from chance to its level. Each setting has its own speed, so curves cross. The accuracy of a
run also has an effect of its seed on all settings, an effect of its seed on this setting, and the sampling noise of the
validation items. Packs train one after another, and rivals in one pack are judged together, as with one trainer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.search.halving import Halving, judge

SWEEPS = 2000
STEPS = 100
CHANCE, TOP = 0.25, 0.75
SHARED, OWN = 2.0, 1.0  # standard deviations, in points: of a seed's effect on all settings alike, and on each setting


@dataclass(frozen=True)
class Case:
    """A field of settings; ``speeds`` are the time constants of their exponential rise, as shares of a run.

    ``gaps`` are how many points each setting's level is below the best setting's.
    """

    name: str
    gaps: tuple[float, ...]
    speeds: tuple[float, ...]
    seeds: int = 3
    items: int = 500
    pack: int | None = None  # runs per pack; None: all rivals in one pack
    first: float = 0.25
    factor: int = 2


@dataclass(frozen=True)
class Found:
    """The outcome of a case over all its sweeps.

    all_seeds   the share of sweeps in which the best setting keeps all its seeds
    one_seed    the share of sweeps in which the best setting keeps at least one seed
    good        the share of sweeps in which a setting within one point of the best keeps all its seeds
    saved       the share of steps that early stopping saves
    lean        for settings that lost some seeds: the mean of the surviving runs minus the mean over all seeds (points)
    lean_whole  for settings that kept all seeds: the mean of their seeds' own effects on them (points), by which the
                means of these settings are too high
    """

    all_seeds: float
    one_seed: float
    good: float
    saved: float
    lean: float
    lean_whole: float


def simulate(case: Case, sweeps: int, seed: int = 0) -> Found:
    """Simulate ``sweeps`` sweeps of the case; equal seeds give equal sweeps."""
    random = np.random.default_rng(seed)
    best, good = np.array(case.gaps) == 0, np.array(case.gaps) <= 1
    totals, lean, lean_whole = np.zeros(4), [], []
    for _ in range(sweeps):
        finals, luck, steps = _sweep(case, random)
        kept = steps == STEPS
        whole = kept.all(axis=1)
        totals += [whole[best].any(), kept[best].any(), whole[good].any(), 1 - steps.mean() / STEPS]
        lean += [row[on].mean() - row.mean() for row, on in zip(finals, kept, strict=True) if 0 < on.sum() < on.size]
        lean_whole += [row.mean() for row in luck[whole]]
    return Found(*map(float, totals / sweeps), lean=_points(lean), lean_whole=_points(lean_whole))


def _points(shares: Sequence[float]) -> float:
    """Return the mean of the shares in points; 0 without shares."""
    return 100 * float(np.mean(shares)) if shares else 0.0


def _sweep(
    case: Case, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Simulate one sweep; return three arrays of shape (settings, seeds).

    They are the accuracy of each run after all its steps, the effect of the run's seed on its setting alone, and the
    steps after which the run was stopped (`STEPS` if it never was).
    """
    settings = len(case.gaps)
    shared = SHARED * random.normal(size=(1, case.seeds)) / 100
    luck = OWN * random.normal(size=(settings, case.seeds)) / 100
    finals = TOP - np.array(case.gaps)[:, None] / 100 + shared + luck
    steps = np.full((settings, case.seeds), STEPS)
    for number in range(case.seeds):
        order = random.permutation(settings)
        size = case.pack or settings
        seen: dict[int, list[float | None]] = {}
        for begin in range(0, settings, size):
            _train(case, finals[:, number], steps[:, number], order[begin : begin + size], seen, random)
    return finals, luck, steps


def _train(
    case: Case,
    finals: NDArray[np.float64],
    steps: NDArray[np.int64],
    pack: NDArray[np.int64],
    seen: dict[int, list[float | None]],
    random: np.random.Generator,
) -> None:
    """Train a pack of one seed: judge its runs at each rung among all runs ``seen`` there; note stops in ``steps``."""
    living = list(pack)
    for rung in Halving(case.first, case.factor).steps(STEPS):
        scores = {run: _measured(case, run, finals[run], rung / STEPS, random) for run in living}
        there = seen.setdefault(rung, [])
        there.extend(scores.values())
        beaten = [run for run, score in scores.items() if not judge(score, there, case.factor).goes_on]
        steps[beaten] = rung
        living = [run for run in living if run not in beaten]


def _measured(case: Case, setting: int, final: float, share: float, random: np.random.Generator) -> float:
    """Return the validation accuracy of a run after a ``share`` of its steps, with the sampling noise of the items."""
    speed = case.speeds[setting]
    risen = (1 - np.exp(-share / speed)) / (1 - np.exp(-1 / speed))
    true = float(np.clip(CHANCE + (final - CHANCE) * risen, 0, 1))
    return float(random.binomial(case.items, true)) / case.items


def _rates(settings: int) -> tuple[float, ...]:
    """Return the gaps of a wide grid of rates: the best, an eighth 1 point behind, the rest 5 to 50 points behind."""
    close = max(1, settings // 8)
    rest = np.linspace(5, 50, settings - 1 - close)
    return (0.0, *(1.0,) * close, *map(float, rest))


def _crossing(settings: int) -> tuple[float, ...]:
    """Return speeds by which better settings rise more slowly, so the settings that lead at first do not win."""
    return tuple(map(float, np.linspace(0.6, 0.05, settings)))


CASES = [
    Case("wide grid, all equally fast", _rates(16), (0.2,) * 16),
    Case("the same, packs of 4", _rates(16), (0.2,) * 16, pack=4),
    Case("the same, one by one", _rates(16), (0.2,) * 16, pack=1),
    Case("the same, 10 seeds", _rates(16), (0.2,) * 16, seeds=10),
    Case("the same, 100 validation items", _rates(16), (0.2,) * 16, items=100),
    Case("the same, first rung at a tenth", _rates(16), (0.2,) * 16, first=0.1),
    Case("the same, factor 3", _rates(16), (0.2,) * 16, factor=3),
    Case("the same, factor 4: one rung", _rates(16), (0.2,) * 16, factor=4),
    Case("4 settings: 0, 1, 8, 25 points behind", (0, 1, 8, 25), (0.2,) * 4),
    Case("wide grid, the better the slower", _rates(16), _crossing(16)),
    Case("the same, factor 4: one rung", _rates(16), _crossing(16), factor=4),
    Case("the same, first rung at a half", _rates(16), _crossing(16), first=0.5),
    Case("only the best is slow", _rates(16), (0.5, *(0.2,) * 15)),
    Case("all tied", (0,) * 8, (0.2,) * 8),
]


def table(cases: Sequence[Case], sweeps: int) -> Iterator[str]:
    """Yield the lines of the Markdown table, one row per case."""
    yield (
        "| settings of a task | K | seeds | rung, factor | best keeps all seeds | one seed "
        "| one within 1 point keeps all | steps saved | lean: lost some | kept all |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for case in cases:
        one = simulate(case, sweeps)
        shares = [f"{100 * share:.1f} %" for share in (one.all_seeds, one.one_seed, one.good, one.saved)]
        head = [case.name, str(len(case.gaps)), str(case.seeds), f"{case.first:g}, {case.factor}"]
        leans = [f"{lean:+.2f} points" for lean in (one.lean, one.lean_whole)]
        yield f"| {' | '.join([*head, *shares, *leans])} |"


if __name__ == "__main__":
    for line in table(CASES, int(sys.argv[1]) if len(sys.argv) > 1 else SWEEPS):
        print(line, flush=True)  # noqa: T201 - the table is the output of this command
