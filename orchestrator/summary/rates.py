"""The figures of one method at one learning rate, and the choice among its rates."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import cast

from orchestrator.statistics.crossed import Cell, mean_interval
from orchestrator.statistics.intervals import Interval, spread
from orchestrator.statistics.quotable import mean_bootstrap
from orchestrator.summary.best_of import best_of_n
from orchestrator.summary.schema import MethodSummary, Predictions, RateSummary, ResultRow
from orchestrator.summary.variance_sources import variance_sources


def summarise_rate(rows: Sequence[ResultRow]) -> RateSummary:
    """Return the figures of one task, method and learning rate from its rows, one a seed."""
    done = [row for row in rows if row["status"] == "committed"]
    accuracies = [float(row["accuracy"]) for row in done]
    worst = min(done, key=lambda row: (row["accuracy"], row["seed"]), default=None)
    diverged, failed, stopped = (_seeds(rows, status) for status in ("diverged", "failed", "stopped"))
    volatilities, changes = (_known(done, key) for key in ("train_loss_volatility", "train_loss_change"))
    validations = _known(done, "validation_accuracy")
    return {
        "lr": float(rows[0]["lr"]),
        "n": len(done),
        "mean": _mean(accuracies),
        "sd": None if stopped else spread(accuracies),
        "interval": None if stopped else _interval(done, "accuracy"),
        "bootstrap": None if stopped else mean_bootstrap(accuracies, [_cell(row) for row in done]),
        "worst": float(worst["accuracy"]) if worst else None,
        "worst_seed": worst["seed"] if worst else None,
        "diverged": len(diverged),
        "diverged_seeds": diverged,
        "failed": len(failed),
        "failed_seeds": failed,
        "dropped": sum(row["status"] == "dropped" for row in rows),
        "stopped": len(stopped),
        "stopped_seeds": stopped,
        "volatility": _mean(volatilities),
        "volatility_interval": None if stopped else _interval(done, "train_loss_volatility"),
        "loss_change": _mean(changes),
        "loss_change_interval": None if stopped else _interval(done, "train_loss_change"),
        "validation_mean": _mean(validations),
        "validation_interval": None if stopped else _interval(done, "validation_accuracy"),
        "train_seconds": _mean(_known(done, "train_seconds")),
        "trainable_parameters": next((row["trainable_parameters"] for row in done), None),
    }


def choose_rate(by_lr: Sequence[RateSummary]) -> RateSummary:
    """Return the learning rate to report: the fewest lost runs, then the best mean validation, never the test accuracy.

    A run is lost if it diverged, failed, was dropped by a search or stopped at a rung: a mean over the seeds that are
    left may be luck, so however well they did, their rate loses to one that lost fewer. A rate without a committed run
    loses to any with one. Ties go to the smaller rate.
    """

    return min(by_lr, key=_merit)


def _merit(found: RateSummary) -> tuple[bool, int, float, float]:
    """Return what settings are ranked by, the best the smallest."""
    validation = found["validation_mean"]
    lost = found["diverged"] + found["failed"] + found["dropped"] + found["stopped"]
    return found["n"] == 0, lost, -validation if validation is not None else float("inf"), found["lr"]


def summarise_method(rows: Sequence[ResultRow], predictions: Predictions | None = None) -> MethodSummary:
    """Return the figures of one task and method from its rows: at the chosen rate, and by rate."""
    of_rate: dict[float, list[ResultRow]] = {}
    for row in rows:
        of_rate.setdefault(float(row["lr"]), []).append(row)
    by_lr = [summarise_rate(of_rate[lr]) for lr in sorted(of_rate)]
    chosen = choose_rate(by_lr)
    found = {
        **chosen,
        "base_accuracy": next((row["base_accuracy"] for row in rows if row.get("base_accuracy") is not None), None),
        "by_lr": {repr(one["lr"]): one for one in by_lr},
        "sources": None if chosen["stopped"] else variance_sources(of_rate[chosen["lr"]], predictions or {}),
        "best_of": best_of_n(sorted(by_lr, key=_merit)),
    }
    return cast("MethodSummary", found)


def _seeds(rows: Sequence[ResultRow], status: str) -> list[int]:
    return sorted(row["seed"] for row in rows if row["status"] == status)


def _interval(rows: Sequence[ResultRow], key: str) -> Interval | None:
    """Return the interval of the mean over the rows that have the figure."""
    known = [row for row in rows if row.get(key) is not None]
    return mean_interval([float(row[key]) for row in known], [_cell(row) for row in known])


def _cell(row: ResultRow) -> Cell:
    """Return the seeds of a run's start and of its order; a row of before there were two has one for both."""
    return int(row.get("init_seed", row["seed"])), int(row.get("data_seed", row["seed"]))


def _known(rows: Sequence[ResultRow], key: str) -> list[float]:
    return [float(row[key]) for row in rows if row.get(key) is not None]


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None
