"""The sizes of the GPU check: `FULL` fills one GPU for a few minutes, `TINY` runs every line on a CPU."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Case:
    """A model to time: its hidden size, and the rows per lane and step."""

    hidden: int
    rows: int


@dataclass(frozen=True)
class Scale:
    """The sizes of all parts; ``layers`` is the number of blocks, fewer than the 20 to 40 of a real model."""

    layer_sizes: tuple[int, ...]
    layer_rows: int
    cases: tuple[Case, ...]
    layers: int
    vocab: int
    length: int
    lanes: tuple[int, ...]
    rounds: int
    small: Case
    small_length: int
    small_layers: int
    small_lanes: int
    steps: int
    composed_rows: tuple[int, ...]
    device: torch.device
    head: int


FULL = Scale(
    layer_sizes=(2048, 4096),
    layer_rows=8192,
    cases=(Case(2048, 4), Case(4096, 4), Case(2048, 1)),
    layers=6,
    vocab=32_000,
    length=512,
    lanes=(1, 4, 16),
    rounds=8,
    small=Case(1024, 4),
    small_length=128,
    small_layers=4,
    small_lanes=8,
    steps=20,
    composed_rows=(8192, 32768),
    device=torch.device("cuda"),
    head=128,
)
TINY = Scale(
    layer_sizes=(64,),
    layer_rows=512,
    cases=(Case(32, 2),),
    layers=2,
    vocab=64,
    length=16,
    lanes=(1, 2),
    rounds=2,
    small=Case(32, 2),
    small_length=12,
    small_layers=2,
    small_lanes=2,
    steps=3,
    composed_rows=(64,),
    device=torch.device("cpu"),
    head=16,
)
