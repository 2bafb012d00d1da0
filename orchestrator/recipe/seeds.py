"""The seeds of a recipe: one seed per run, or two on separate axes, which split variance by where it comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

LIMIT = 10**6  # seeds on an axis are smaller, and labels of pairs are larger: so no label of a pair is also a seed
DIGITS = 3  # the least digits of each seed in the label of a pair
Seed = Annotated[int, Field(ge=0, lt=2**63)]  # what torch can be seeded with
CONFIG = ConfigDict(frozen=True, extra="forbid", strict=True)
AxisSeed = Annotated[int, Field(ge=0, lt=LIMIT)]


class SeedPair(BaseModel):
    """Two seeds of one run: ``init`` draws the adapter's start and its dropout, ``data`` the order of its rows."""

    model_config = CONFIG

    init: AxisSeed
    data: AxisSeed

    @property
    def label(self) -> int:
        """One number that names the pair: the seed itself if both are equal, else the digits 1, ``init``, ``data``.

        ``init=2, data=1`` is 1002001. A pair has the same label in every sweep, and no two pairs share a label. A run
        with a pair of equal seeds is the run with that seed alone.
        """
        if self.init == self.data:
            return self.init
        width = max(DIGITS, len(str(max(self.init, self.data))))
        return int(f"1{self.init:0{width}d}{self.data:0{width}d}")


class SeedAxes(BaseModel):
    """Seeds on separate axes: a run per pair of a start and an order of the data. An axis may be a single number."""

    model_config = CONFIG

    init: Annotated[list[AxisSeed], Field(min_length=1)]
    data: Annotated[list[AxisSeed], Field(min_length=1)]

    @field_validator("init", "data", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("init", "data")
    @classmethod
    def _distinct(cls, values: list[int]) -> list[int]:
        return distinct(values)


def _kind(value: Any) -> str:
    return "axes" if isinstance(value, dict | SeedAxes) else "list[int]"


Seeds = Annotated[
    Annotated[list[Seed], Field(min_length=1), Tag("list[int]")] | Annotated[SeedAxes, Tag("axes")],
    Discriminator(_kind),  # an error is then reported for the form that was meant, not for both
]
"""What a recipe may say: ``[0, 1, 2]``, or ``{init: [0, 1, 2], data: [0, 1, 2]}``."""


def drawn(seeds: Sequence[int] | SeedAxes) -> list[tuple[int, SeedPair | None]]:
    """Return per run its seed, and None; or for two unequal seeds the label of their pair, and the pair."""
    if not isinstance(seeds, SeedAxes):
        return [(seed, None) for seed in seeds]
    pairs = [SeedPair(init=init, data=data) for init, data in product(seeds.init, seeds.data)]
    return [(pair.label, None if pair.init == pair.data else pair) for pair in pairs]


def seed_words(seed: int, init_seed: int, data_seed: int) -> str:
    """Return ``seed 3``, or for a pair ``seed 1002001 (init 2, data 1)``."""
    return f"seed {seed}" + ("" if init_seed == data_seed else f" (init {init_seed}, data {data_seed})")


def distinct(seeds: list[int]) -> list[int]:
    """Return the seeds; ValueError for a repeated seed."""
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed, times in Counter(seeds).items() if times > 1)
        raise ValueError(f"seed {twice} stands here twice: each seed is one run.")
    return seeds
