"""Pure: the learning rate at a step: warm-up, then decay."""

from __future__ import annotations

import math
from typing import Literal


def rate_at(
    step: int, steps: int, *, peak: float, warmup: float, schedule: Literal["cosine", "linear", "constant"]
) -> float:
    """Return the learning rate of ``step`` (counted from 0) of ``steps`` steps.

    The rate rises linearly to ``peak`` over the share ``warmup`` of the steps. Then the rate falls to 0 along a cosine
    or a line, or stays at ``peak`` (``schedule``: "constant").
    """
    warm = math.ceil(warmup * steps)
    if step < warm:
        return peak * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return peak * {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}[schedule]
