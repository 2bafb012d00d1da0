"""The figures of one method at one learning rate, and the choice among its rates."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import cast

from orchestrator.statistics.crossed import mean_interval
from orchestrator.statistics.intervals import SHARES, SIZES, Interval, clipped, spread
from orchestrator.statistics.quotable import mean_bootstrap
from orchestrator.summary.best_of import best_of_n
from orchestrator.summary.schema import MethodSummary, Predictions, RateSummary, ResultRow
from orchestrator.summary.table import ResultTable, cell_of
from orchestrator.summary.variance_sources import variance_sources


def summarise_rate(rows: Sequence[ResultRow]) -> RateSummary:
    """Return the figures of one task, method and learning rate from its rows, one row per seed."""
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
        "interval": None if stopped else clipped(_interval(done, "accuracy"), SHARES),
        "bootstrap": None if stopped else mean_bootstrap(accuracies, [cell_of(row) for row in done]),
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
        "volatility_interval": None if stopped else clipped(_interval(done, "train_loss_volatility"), SIZES),
        "loss_change": _mean(changes),
        "loss_change_interval": None if stopped else clipped(_interval(done, "train_loss_change"), SIZES),
        "validation_mean": _mean(validations),
        "validation_interval": None if stopped else clipped(_interval(done, "validation_accuracy"), SHARES),
        "train_seconds": _mean(_known(done, "train_seconds")),
        "trainable_parameters": next((row["trainable_parameters"] for row in done), None),
    }


def choose_rate(by_lr: Sequence[RateSummary]) -> RateSummary:
    """Return the learning rate to report: the fewest lost runs, then the best mean validation, never the test accuracy.

    A run is lost if it diverged, failed, was dropped by a search or was stopped at a rung. The seeds that a rate kept
    may be the lucky ones, so a rate loses to every rate that lost fewer runs, however good the seeds that it kept. A
    rate without a committed run loses to every rate with one. Equal rates go to the smaller learning rate.
    """
    return min(by_lr, key=ranking_key)


def ranking_key(setting: RateSummary) -> tuple[bool, int, float, float]:
    """Return the key that ranks settings: the best setting has the smallest key."""
    validation = setting["validation_mean"]
    lost = setting["diverged"] + setting["failed"] + setting["dropped"] + setting["stopped"]
    return setting["n"] == 0, lost, -validation if validation is not None else float("inf"), setting["lr"]


def summarise_method(table: ResultTable, task: str, method: str, predictions: Predictions) -> MethodSummary:
    """Return the figures of one task and method: at the chosen rate, and by rate. The table needs a row of both."""
    by_lr = [summarise_rate(table.rows(task, method, lr)) for lr in table.rates(task, method)]
    chosen = choose_rate(by_lr)
    bases = [row["base_accuracy"] for row in table.rows(task, method) if row.get("base_accuracy") is not None]
    at_chosen = table.rows(task, method, chosen["lr"])
    summary = {
        **chosen,
        "base_accuracy": bases[0] if bases else None,
        "by_lr": {repr(setting["lr"]): setting for setting in by_lr},
        "sources": None if chosen["stopped"] else variance_sources(at_chosen, predictions),
        "best_of": best_of_n(sorted(by_lr, key=ranking_key)),
    }
    return cast("MethodSummary", summary)


def _seeds(rows: Sequence[ResultRow], status: str) -> list[int]:
    return sorted(row["seed"] for row in rows if row["status"] == status)


def _interval(rows: Sequence[ResultRow], key: str) -> Interval | None:
    """Return the interval of the mean of a column over the rows that have a value in it."""
    known = [row for row in rows if row.get(key) is not None]
    return mean_interval([float(row[key]) for row in known], [cell_of(row) for row in known])


def _known(rows: Sequence[ResultRow], key: str) -> list[float]:
    return [float(row[key]) for row in rows if row.get(key) is not None]


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None
