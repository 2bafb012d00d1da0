"""Short trainings compared: bfloat16 with float32, a lane of a pack with a run alone, a run with its repetition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten

import torch
from torch import Tensor

import d2lora
from benchmarks.gpu import arms
from benchmarks.gpu.report import Rows
from benchmarks.gpu.scale import Scale
from orchestrator.machine.deterministic import deterministic

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
EPOCHS = 4  # each row is seen four times, so that losses fall


@dataclass
class Trained:
    """The result of a small training: its losses and times, and each lane's trained numbers as a vector."""

    story: arms.Story
    vectors: list[Tensor]


def trained(scale: Scale, dtype: torch.dtype, lanes: Sequence[d2lora.Lane], seeds: Sequence[int]) -> Trained:
    """Train lanes with these data seeds for ``scale.steps`` steps on the small model."""
    rows, length = scale.small.rows, scale.small_length
    model = arms.model_of(scale, scale.small.hidden, layers=scale.small_layers, dtype=dtype)
    optim = arms.optim_of(rows, EPOCHS)
    items = arms.items_of(scale, rows, -(-scale.steps // EPOCHS), length)
    engine = arms.engine_of(model, lanes, optim, scale.device)
    story = arms.train(engine, items, seeds, optim)
    result = Trained(story, [arms.vector_of(engine.model, index) for index in range(len(lanes))])
    del engine, model
    arms.forget()
    return result


def half_rows(scale: Scale) -> Rows:
    """Yield a row per method: how far its training in bfloat16 is from its training in float32."""
    lanes = [arms.lane(0), arms.lane(0, norm_axis="in"), arms.lane(0, "dora"), arms.lane(0, "lora")]
    names = ["D2-LoRA, norms of outputs", "D2-LoRA, norms of inputs", "DoRA", "LoRA"]
    wide, half = (trained(scale, dtype, lanes, [0] * len(lanes)) for dtype in TYPES.values())
    for index, name in enumerate(names):
        ours, theirs = half.story.losses[index], wide.story.losses[index]
        yield {
            "method": name,
            "first loss, float32": theirs[0],
            "first loss, bfloat16": ours[0],
            "last loss, float32": theirs[-1],
            "last loss, bfloat16": ours[-1],
            "largest loss difference": max(abs(one - other) for one, other in zip(ours, theirs, strict=True)),
            "adapters apart": arms.apart(half.vectors[index], wide.vectors[index]),
        }


def solo_rows(scale: Scale) -> Rows:
    """Yield how far a lane of a pack is from the same run alone, and how far two repetitions of that run are apart."""
    lanes = [arms.lane(seed) for seed in range(scale.small_lanes)]
    seeds = list(range(scale.small_lanes))
    for name, dtype in TYPES.items():
        pack = trained(scale, dtype, lanes, seeds)
        for index in sorted({0, scale.small_lanes // 2, scale.small_lanes - 1}):
            alone = trained(scale, dtype, [lanes[index]], [seeds[index]])
            yield {
                "type": name,
                "compared": f"lane {index} of {len(lanes)}, and alone",
                **_compared(pack.vectors[index], alone.vectors[0], pack.story.losses[index], alone.story.losses[0]),
            }
        again = trained(scale, dtype, [lanes[0]], [seeds[0]])
        once = trained(scale, dtype, [lanes[0]], [seeds[0]])
        yield {
            "type": name,
            "compared": "lane 0 alone, twice",
            **_compared(once.vectors[0], again.vectors[0], once.story.losses[0], again.story.losses[0]),
        }


def noise_rows(scale: Scale) -> Rows:
    """Yield how far two trainings of one pack are apart: repeated, repeated deterministically, with other data seeds.

    Deterministic means this project's ``engine.deterministic``. If an operation has no deterministic kernel, torch
    raises an error, and the row shows the error.
    """
    lanes = [arms.lane(seed) for seed in range(scale.small_lanes)]
    seeds = list(range(scale.small_lanes))
    for name, dtype in TYPES.items():
        first = trained(scale, dtype, lanes, seeds)
        yield {"type": name, "compared": "the same pack twice", **_repeated(first, trained(scale, dtype, lanes, seeds))}
        yield {"type": name, "compared": "the same pack twice, deterministic", **_held(scale, dtype, lanes, seeds)}
        other = trained(scale, dtype, lanes, [seed + 100 for seed in seeds])
        yield {"type": name, "compared": "another data seed", **_apart(first, other)}


def _held(
    scale: Scale, dtype: torch.dtype, lanes: Sequence[d2lora.Lane], seeds: Sequence[int]
) -> dict[str, float | str]:
    """Return how far two deterministic trainings of a pack are apart, or torch's error if a kernel is missing."""
    try:
        with deterministic(True):
            first, second = (trained(scale, dtype, lanes, seeds) for _ in range(2))
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        arms.forget()
        return {"raised": shorten(str(error), 160)}
    return _repeated(first, second)


def _repeated(first: Trained, second: Trained) -> dict[str, float | str]:
    return {**_apart(first, second), **arms.spread(first.story.step_ms), "raised": "-"}


def _apart(first: Trained, second: Trained) -> dict[str, float]:
    pairs = zip(first.vectors, second.vectors, strict=True)
    return {
        "adapters apart": max(arms.apart(one, other) for one, other in pairs),
        "last losses apart": _last_apart(first.story, second.story),
    }


def _compared(actual: Tensor, wanted: Tensor, losses: list[float], others: list[float]) -> dict[str, float]:
    differences = [abs(one - other) / abs(other) for one, other in zip(losses, others, strict=True)]
    return {"adapters apart": arms.apart(actual, wanted), "largest relative loss difference": max(differences)}


def _last_apart(first: arms.Story, second: arms.Story) -> float:
    return max(abs(losses[-1] - second.losses[index][-1]) for index, losses in first.losses.items())
