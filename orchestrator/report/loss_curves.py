"""Training losses over the steps, by method: a mean over seeds, and from the lowest seed to the highest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.summary.schema import ResultRow

BINS = 100  # points a curve: more than a panel's width can tell apart
Curve = Sequence[tuple[int, float]]
"""Steps and losses of one run."""


class Band(NamedTuple):
    """A loss over the seeds, by step: the mean, and between which seeds it lies."""

    steps: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]
    seeds: int


def curve_band(curves: Sequence[Curve], bins: int = BINS) -> Band | None:
    """Return mean, lowest and highest of the curves, each averaged over ``bins`` equal parts of their common steps.

    The lowest and highest seed, not a standard deviation: with few seeds it claims nothing that was not seen. Steps
    that any of them lacks are left out; None where that leaves none.
    """
    if not curves or not (common := sorted(set.intersection(*({step for step, _ in curve} for curve in curves)))):
        return None
    values_RS = np.array([[dict(curve)[step] for step in common] for curve in curves])
    parts = min(bins, len(common))
    edges = np.linspace(0, len(common), parts + 1).astype(int)[:-1]
    widths = np.diff(np.append(edges, len(common)))
    means_RP = np.add.reduceat(values_RS, edges, axis=1) / widths
    steps = np.add.reduceat(np.array(common, dtype=float), edges) / widths
    low, high = means_RP.min(axis=0), means_RP.max(axis=0)
    return Band(steps.tolist(), means_RP.mean(axis=0).tolist(), low.tolist(), high.tolist(), len(curves))


def chosen(rows: Sequence[ResultRow], task: str, method: str, one: Mapping[str, Any]) -> list[ResultRow]:
    """Return the committed runs of a task and a method at the rate that its summary ``one`` is about."""
    wanted = (task, method, one["lr"], "committed")
    return [row for row in rows if (row["task"], row["method"], row["lr"], row["status"]) == wanted]


def losses(rows: Sequence[ResultRow], folder: Path) -> list[Curve]:
    """Return the steps and training losses of these runs, as far as their folders have them."""
    found = [SweepFolder(folder).run(row["run_key"]).metrics() for row in rows]
    curves = [[(int(one["step"]), float(one["train_loss"])) for one in steps if "train_loss" in one] for steps in found]
    return [curve for curve in curves if curve]
