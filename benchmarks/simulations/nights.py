"""Verdicts on invented nights: how often people are told for nothing, and after how many nights of a true loss.

    python -m benchmarks.simulations.nights [--years 20] [--trials 200] [quiet|loss|harmless ...]

A test item has a margin, normal over items, so that 70 % are right. A run adds an effect of its seed on all items, half
of it shared by the methods of a task, and noise of its own on every item; an item is right above 0. When bytes move, a
run of the same seed keeps `KEPT` of the variance of both and draws the rest anew: its near ties flip, its level shifts
a little. A loss lowers all margins. The canary and the thresholds are the defaults of `nightly_section.py`.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import special

from orchestrator.recipe.nightly_section import NightlySpec
from orchestrator.verdict.judge import is_news, judge, judged
from orchestrator.verdict.night import CanaryRun, Cell, Night, World
from orchestrator.verdict.rules import Rules
from orchestrator.verdict.verdict import Verdict

SPEC = NightlySpec()
RULES = Rules.of(SPEC)
FIXED, FRESH = SPEC.canary.seeds, SPEC.canary.fresh
RIGHT = 0.7
ITEM_NOISE = 0.1
"""The standard deviation of a run's noise on an item; that of items' margins is 1. Two seeds differ on 4 % of items."""
KEPT = 0.5
DAMAGED = 0.02
"""The share of nights with a run that failed."""
LONGEST = 90
WORLD = World("simulated", {}, None, "", "base", {}, "settings")
NEVER, WEEKLY, NIGHTLY = 0, 7, 1


@dataclass(frozen=True)
class Case:
    """``moves`` is after how many nights bytes move (`NEVER`, `WEEKLY`, `NIGHTLY`); ``seed_sd`` is in points.

    ``one_cell`` says that a loss hits the first cell alone.
    """

    tasks: int
    methods: int
    items: int
    seed_sd: float
    moves: int
    one_cell: bool = False

    @property
    def cells(self) -> list[Cell]:
        """The cells of the canary."""
        return [(f"task{t}", f"method{m}") for t in range(self.tasks) for m in range(self.methods)]


@dataclass
class Canary:
    """Draws the runs of a canary; equal seeds draw equal runs."""

    case: Case
    random: np.random.Generator
    margins: NDArray[np.float64] = field(init=False)
    kept: NDArray[np.float64] = field(init=False)
    runs: list[CanaryRun] = field(init=False)
    count: int = 0

    def __post_init__(self) -> None:
        """Draw the items, and the part of the fixed seeds' noise that stays when bytes move."""
        spread = (1 + ITEM_NOISE**2) ** 0.5
        self.level = float(special.ndtri(RIGHT)) * spread
        self.slope = math.exp(-((self.level / spread) ** 2) / 2) / (2 * math.pi) ** 0.5 / spread
        self.margins = self.level + self.random.normal(size=(self.case.tasks, 1, 1, self.case.items))
        self.kept = self._noise(FIXED)
        self.move(0.0)

    def _noise(self, seeds: int) -> NDArray[np.float64]:
        """Return a run's effects on every item: tasks x methods x seeds x items."""
        shape = (self.case.tasks, self.case.methods, seeds, 1)
        shared = self.random.normal(size=(self.case.tasks, 1, seeds, 1))
        level = (0.5**0.5) * (shared + self.random.normal(size=shape)) * self.case.seed_sd / 100 / self.slope
        return level + ITEM_NOISE * self.random.normal(size=(*shape[:3], self.case.items))

    def _shift(self, loss: float) -> NDArray[np.float64]:
        """Return by how much margins fall for a loss in points: tasks x methods x 1 x 1."""
        fall = self.level - float(special.ndtri(RIGHT - loss / 100)) * (1 + ITEM_NOISE**2) ** 0.5
        hit = np.zeros if self.case.one_cell else np.ones
        shift = fall * hit((self.case.tasks, self.case.methods, 1, 1))
        shift[0, 0] = fall
        return shift

    def move(self, loss: float) -> None:
        """Train the fixed seeds with other bytes."""
        noise = KEPT**0.5 * self.kept + (1 - KEPT) ** 0.5 * self._noise(FIXED)
        self.runs = self._made(noise, loss, range(FIXED), fresh=False)

    def fresh(self, seeds: int, loss: float) -> list[CanaryRun]:
        """Train seeds that were never trained before."""
        self.count += seeds
        return self._made(self._noise(seeds), loss, range(1000 + self.count, 1000 + self.count + seeds), fresh=True)

    def _made(self, noise: NDArray[np.float64], loss: float, seeds: range, fresh: bool) -> list[CanaryRun]:
        right = ((self.margins - self._shift(loss) + noise > 0) + ord("0")).astype(np.uint8)
        return [
            CanaryRun(*cell, seed, fresh, "finished", "", marks if not fresh else "", marks)
            for cell, of_cell in zip(self.case.cells, right.reshape(-1, len(seeds), self.case.items), strict=True)
            for seed, row in zip(seeds, of_cell, strict=True)
            for marks in [row.tobytes().decode()]
        ]

    def night(self, number: int, loss: float, move: bool) -> Night:
        """Return a night that nobody judged yet."""
        if move:
            self.move(loss)
        return Night(_name(number), WORLD, (*self.runs, *self.fresh(FRESH, loss)))


def _name(number: int) -> str:
    return str(np.datetime64("2026-01-01") + number)


def verdict_of(canary: Canary, history: Sequence[Night], night: Night, loss: float, accepted: Sequence[str]) -> Verdict:
    """Judge a night, with a confirmation if the verdict wants one."""
    verdict = judge(history, night, RULES, accepted=accepted)
    if verdict.wants is None:
        return verdict
    runs = [run for run in canary.fresh(RULES.confirm_seeds, loss) if run.cell in verdict.wants.cells]
    return judge(history, night, RULES, runs, accepted)


@dataclass
class Quiet:
    """What nights without a change brought."""

    nights: int = 0
    told: int = 0
    better: int = 0
    confirmations: int = 0
    suspected: int = 0
    damaged: int = 0
    damaged_in_baseline: int = 0


def quiet(case: Case, years: int, seed: int = 0) -> Quiet:
    """Simulate nights without a change; a false alarm is accepted at once, so that the next can come."""
    canary, outcome = Canary(case, np.random.default_rng(seed)), Quiet()
    history: list[Night] = []
    accepted: list[str] = []
    broken: set[str] = set()
    for number in range(365 * years):
        night = canary.night(number, 0.0, move=bool(case.moves) and number % case.moves == 0)
        if canary.random.random() < DAMAGED:
            night = Night(night.name, WORLD, night.runs[1:])
            broken.add(night.name)
        verdict = verdict_of(canary, history, night, 0.0, accepted)
        outcome.nights += 1
        outcome.confirmations += verdict.confirmed is not None
        outcome.suspected += verdict.confirmed is not None and not verdict.confirmed.holds
        outcome.better += verdict.status == "better"
        outcome.damaged_in_baseline += bool(broken & set(verdict.baseline))
        if is_news(history, verdict, ["worse"]):
            outcome.told += 1
            accepted = [night.name]
        history = [*history[-400:], judged(night, verdict, told=verdict.status == "worse")]
    outcome.damaged = len(broken)
    return outcome


def nights_until_told(case: Case, loss: float, before: int, trials: int, seed: int = 0) -> tuple[list[int], list[str]]:
    """Return per trial the nights until a loss is told, and the status of its first night.

    ``before`` nights without a change come first. The bytes move on the first night of the loss in any case.
    """
    told, statuses = [], []
    for trial in range(trials):
        canary = Canary(case, np.random.default_rng([seed, trial]))
        history = []
        for number in range(before):
            night = canary.night(number, 0.0, move=bool(case.moves) and number % case.moves == 0)
            same = bool(history) and night.digests == history[-1].digests
            history.append(Night(night.name, WORLD, night.runs, status="same_bytes" if same else "within_noise"))
        for number in range(before, before + LONGEST):
            move = number == before or (bool(case.moves) and number % case.moves == 0)
            night = canary.night(number, loss, move)
            verdict = verdict_of(canary, history, night, loss, ())
            if number == before:
                statuses.append(verdict.status)
            if verdict.status == "worse" or not loss:
                break
            history.append(judged(night, verdict))
        told.append(number - before + 1)
    return told, statuses


WORDS = {NEVER: "never", WEEKLY: "once a week", NIGHTLY: "every night"}
QUIET = [
    Case(tasks, methods, items, sd, moves)
    for tasks, methods, items, sd, moves in [
        (1, 1, 300, 1.0, NIGHTLY),
        (2, 2, 500, 0.7, NIGHTLY),
        (2, 2, 1000, 0.5, NIGHTLY),
        (2, 2, 500, 0.7, WEEKLY),
        (2, 2, 500, 0.7, NEVER),
    ]
]
SIZES = [(1, 1, 300, 1.0), (1, 1, 500, 0.7), (1, 1, 1000, 0.5), (2, 2, 300, 1.0), (2, 2, 500, 0.7), (2, 2, 1000, 0.5)]
LOSSES = [(Case(*size, moves), loss) for loss in (2.0, 1.0) for size in SIZES for moves in (NEVER, NIGHTLY)]
LOSSES += [(Case(2, 2, 500, 0.7, moves, one_cell=True), 2.0) for moves in (NEVER, NIGHTLY)]


def _described(case: Case) -> str:
    size = f"{case.tasks} x {case.methods}{', a loss in one cell' if case.one_cell else ''}"
    return f"{size} | {case.items} | {case.seed_sd:g} | {_total_sd(case):.1f}"


def _total_sd(case: Case) -> float:
    """Return the standard deviation of a run's accuracy over seeds on the same items, in points."""
    runs = Canary(case, np.random.default_rng(0)).fresh(400, 0.0)[:400]
    return 100 * float(np.std([run.accuracy for run in runs]))


def quiet_table(years: int) -> Iterator[str]:
    """Yield a row per case of nights without a change."""
    yield (
        "| tasks x methods | items | seed sd | run sd | bytes move | nights | told | told per year "
        "| called better | confirmations a year | damaged nights, of them ever in a baseline |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    begin = time.process_time()
    for case in QUIET:
        one = quiet(case, years)
        yield (
            f"| {_described(case)} | {WORDS[case.moves]} | {one.nights} | {one.told} | {one.told / years:.2f} "
            f"| {one.better} | {one.confirmations / years:.1f} | {one.damaged}, {one.damaged_in_baseline} |"
        )
    seconds = (time.process_time() - begin) / (len(QUIET) * 365 * years) * 10_000
    yield f"\n10,000 nights: {seconds:.0f} s of one core"


def loss_table(trials: int) -> Iterator[str]:
    """Yield a row per case of a true loss."""
    yield (
        "| loss, points | tasks x methods | items | seed sd | run sd | bytes move | median | 90 % within "
        "| told within 3 nights | within 14 nights |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for case, loss in LOSSES:
        told = np.array(nights_until_told(case, loss, 60, trials)[0])
        moves = "every night" if case.moves else "with the loss alone"
        yield (
            f"| {loss:g} | {_described(case)} | {moves} | {np.median(told):.0f} | {np.quantile(told, 0.9):.0f} "
            f"| {np.mean(told <= 3):.0%} | {np.mean(told <= 14):.0%} |"
        )


def harmless_table(trials: int) -> Iterator[str]:
    """Yield a row per case of bytes that move once without any loss."""
    yield "| tasks x methods | items | seed sd | run sd | called within noise | worse | better |"
    yield "|---|---|---|---|---|---|---|"
    for case in (Case(1, 1, 300, 1.0, NEVER), Case(2, 2, 500, 0.7, NEVER)):
        statuses = nights_until_told(case, 0.0, 20, trials)[1]
        shares = [statuses.count(status) / len(statuses) for status in ("within_noise", "worse", "better")]
        yield f"| {_described(case)} | {' | '.join(f'{share:.1%}' for share in shares)} |"


def main() -> None:
    """Print the tables, and what judging costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=20)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("tables", nargs="*", default=["quiet", "loss", "harmless"])
    options = parser.parse_args()
    made = {
        "quiet": lambda: quiet_table(options.years),
        "loss": lambda: loss_table(options.trials),
        "harmless": lambda: harmless_table(5 * options.trials),
    }
    for name in options.tables:
        for line in made[name]():
            print(line, flush=True)  # noqa: T201 - the tables are the output of this command
        print(flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
