"""The learning rate at a step: warm-up, then a decay."""

from __future__ import annotations

import math
from typing import Literal


def rate_at(
    step: int, steps: int, *, peak: float, warmup: float, schedule: Literal["cosine", "linear", "constant"]
) -> float:
    """Return the rate of ``step`` (from 0) of ``steps``: linear warm-up over a share of them, then the decay to 0."""
    warm = math.ceil(warmup * steps)
    if step < warm:
        return peak * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return peak * {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}[schedule]
