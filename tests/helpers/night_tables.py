"""Nights for tests: a run's bytes are a word, its right items are drawn from the word, a loss is so many points."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from orchestrator.recipe.nightly_section import NightlySpec
from orchestrator.verdict.judge import judge, judged
from orchestrator.verdict.night import Anchor, CanaryRun, Cell, Night, World
from orchestrator.verdict.rules import Rules
from orchestrator.verdict.verdict import Verdict

WORLD = World("cpu x 1", {"torch": "2.13"}, "abc1", "code1", "base1", {"arc": "rows1", "boolq": "rows2"}, "settings1")
CELLS: Sequence[Cell] = (("arc", "d2lora"), ("arc", "lora"), ("boolq", "d2lora"), ("boolq", "lora"))
RULES = Rules.of(NightlySpec())
ITEMS = 400


def random_of(*words: object) -> np.random.Generator:
    """A generator that belongs to these words."""
    return np.random.default_rng(list(hashlib.sha256(repr(words).encode()).digest()))


def run(cell: Cell, seed: int, word: str, loss: float = 0.0, fresh: bool = False, items: int = ITEMS) -> CanaryRun:
    """A run whose right items are drawn from its word: 70 % right, a seed's standard deviation is a point."""
    margins = random_of(cell[0], items).normal(0.55 - loss * 0.029, 1, items)
    noise = random_of(cell, seed, word)
    margins = margins + 0.02 * noise.normal() + 0.1 * noise.normal(size=items)
    right = "".join("1" if margin > 0 else "0" for margin in margins)
    digest = f"{word}:{loss}:{seed}:{cell}"
    return CanaryRun(*cell, seed, fresh, "finished", f"key-{digest}", digest, right, 1.0, 10.0, 1000)


def night(
    name: str,
    word: str = "a",
    loss: float | Mapping[Cell, float] = 0.0,
    world: World = WORLD,
    cells: Sequence[Cell] = CELLS,
    **more: object,
) -> Night:
    """A night whose fixed seeds have the bytes of ``word``, and whose models lost ``loss`` points."""
    losses = loss if isinstance(loss, Mapping) else dict.fromkeys(cells, loss)
    runs = [run(cell, seed, word, losses.get(cell, 0.0)) for cell in cells for seed in (0, 1)]
    runs += [run(cell, 9000 + i, name, losses.get(cell, 0.0), fresh=True) for cell in cells for i in range(3)]
    return replace(Night(name, world, tuple(runs), anchors=(anchor(),)), **more)  # type: ignore[arg-type]


def anchor(kind: str = "base", identity: str = "base1", right: str = "1" * 60 + "0" * 40, shift: float = 0.0) -> Anchor:
    """An anchor on 100 items of arc."""
    scores = [float(score) + shift for score in random_of("scores").normal(-1, 0.5, len(right))]
    return Anchor(kind, "arc", identity, right, scores)  # type: ignore[arg-type]


def without(night: Night, cell: Cell, how_many: int = 5) -> Night:
    """The night with that many runs of the cell failed."""
    left, runs = how_many, []
    for one in night.runs:
        failed = one.cell == cell and left > 0
        left -= failed
        runs.append(replace(one, right="", digest="", status="failed") if failed else one)
    return replace(night, runs=tuple(runs))


def day(number: int) -> str:
    """The name of a night, counted from 1."""
    return f"2026-{1 + (number - 1) // 28:02d}-{1 + (number - 1) % 28:02d}"


@dataclass
class Story:
    """Nights one after another, each judged with the confirmation that it wants."""

    rules: Rules = RULES
    accepted: Sequence[str] = ()
    nights: list[Night] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    confirmations: int = 0

    def after(
        self, word: str = "a", loss: float | Mapping[Cell, float] = 0.0, count: int = 1, **more: object
    ) -> Verdict:
        """Add nights; return the last one's verdict."""
        for _ in range(count):
            self.judge(night(day(len(self.nights) + 1), word, loss, **more), loss)  # type: ignore[arg-type]
        return self.verdicts[-1]

    def judge(
        self,
        tonight: Night,
        loss: float | Mapping[Cell, float] = 0.0,
        seeds: Sequence[int] = range(5),
        told: bool = False,
    ) -> Verdict:
        """Judge a night; the confirmation has lost ``loss`` points, too."""
        verdict = judge(self.nights, tonight, self.rules, accepted=self.accepted)
        if verdict.wants is not None:
            self.confirmations += 1
            losses = loss if isinstance(loss, Mapping) else dict.fromkeys(verdict.wants.cells, loss)
            runs = [
                run(cell, 50_000 + seed, f"confirm {tonight.name}", losses.get(cell, 0.0), fresh=True)
                for cell in verdict.wants.cells
                for seed in seeds
            ]
            verdict = judge(self.nights, tonight, self.rules, runs, self.accepted)
        self.verdicts.append(verdict)
        self.nights.append(judged(tonight, verdict, told))
        return verdict

    @property
    def statuses(self) -> list[str]:
        """The statuses of all nights."""
        return [verdict.status for verdict in self.verdicts]


def of(verdict: Verdict, cell: Cell) -> str:
    """The status of a cell."""
    return next(one.status for one in verdict.cells if one.cell == cell)
