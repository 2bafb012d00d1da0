"""Training losses over the steps, by method: the mean over seeds, and the band from the lowest to the highest seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.summary.schema import ResultRow
from orchestrator.summary.table import ResultTable

BINS = 100
"""Points per curve: more points than a panel's width can tell apart."""
Curve = Sequence[tuple[int, float]]
"""Steps and training losses of one run."""


class Band(NamedTuple):
    """A loss over the seeds, by step: the mean, and the lowest and the highest seed."""

    steps: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]
    seeds: int


def curve_band(curves: Sequence[Curve], bins: int = BINS) -> Band | None:
    """Return mean, lowest and highest of the curves, each averaged over ``bins`` equal parts of their common steps.

    The band is from the lowest to the highest seed, not a standard deviation, because with few seeds it then claims
    nothing that was not seen. Steps that a curve lacks are left out. None without a common step.
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


def chosen(rows: Sequence[ResultRow], task: str, method: str, setting: Mapping[str, Any]) -> list[ResultRow]:
    """Return the committed runs of a task and a method at the rate (``lr``) of ``setting``, one of its summaries."""
    return ResultTable(rows).rows(task, method, setting["lr"], "committed")


def losses(rows: Sequence[ResultRow], folder: Path) -> list[Curve]:
    """Return the training losses of these runs, as far as the run folders in the sweep's ``folder`` have them."""
    logs = [SweepFolder(folder).run(row["run_key"]).metrics() for row in rows]
    curves = [[(int(step["step"]), float(step["train_loss"])) for step in log if "train_loss" in step] for log in logs]
    return [curve for curve in curves if curve]
