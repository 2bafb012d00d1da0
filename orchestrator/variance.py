"""Statistics across seeds: every method at the rate that validation chose, with what diverged beside what finished."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from orchestrator.best_of import best_of_n
from orchestrator.claims import claims, headline
from orchestrator.comparisons import (
    Finished,
    Marks,
    corrected,
    difference,
    mark,
    reference_method,
    reference_pairs,
    with_items,
    with_volatility,
)
from orchestrator.crossed import Cell, Cells, mean_interval
from orchestrator.intervals import Interval, seeds_needed, smallest_detectable_difference, spread
from orchestrator.left_out import limits_of_search, most_tried
from orchestrator.macro import macro_averages
from orchestrator.resampled import mean_bootstrap
from orchestrator.sources import variance_sources
from orchestrator.summary import (
    BestOf,
    Difference,
    MethodSummary,
    Predictions,
    RateSummary,
    Row,
    Summary,
    TaskSummary,
    family_of,
)
from orchestrator.tie_groups import tie_groups
from orchestrator.ties import told_ties
from orchestrator.volatility import loss_volatility

__all__ = [
    "choose_rate",
    "loss_volatility",
    "macro_averages",
    "seeds_needed",
    "smallest_detectable_difference",
    "summarise",
    "summarise_method",
    "summarise_rate",
]

Grid = dict[str, dict[str, list[Row]]]
"""By task and method, the rows."""
Runs = Mapping[str, Mapping[int, Finished]]
"""By method and seed, the committed runs of one task at the chosen rates."""


def summarise(rows: Sequence[Row], predictions: Predictions) -> Summary:
    """Return the content of ``summary.json`` from the rows of ``results.jsonl`` and the predictions by run key.

    Runs that diverged or failed are counted and named, and enter no mean; those that a search dropped or a rung stopped
    are counted. The reference is chosen among the methods that were tried on the most tasks. Predictions may be missing
    for any run.
    """
    _refuse_repeated(rows)
    grid = _grid(rows)
    methods = list(dict.fromkeys(str(row["method"]) for row in rows))
    reference = reference_method(most_tried(rows))
    found = {
        task: {name: summarise_method(of, predictions) for name, of in by_method.items()}
        for task, by_method in grid.items()
    }
    scores = {
        task: {name: _finished(grid[task][name], one["lr"]) for name, one in of.items()} for task, of in found.items()
    }
    cells = {int(row["seed"]): _cell(row) for row in rows}
    compared = _compare_all(reference, scores, predictions, cells)
    tasks = {task: _task(reference, of, grid[task], compared[task]) for task, of in found.items()}
    macro = macro_averages(tasks, scores, methods, reference, cells)
    return {
        "reference": reference,
        "tasks": tasks,
        "macro": macro,
        "headline": headline(reference, tasks, macro, rows),
        "claims": claims(reference, tasks, macro) + limits_of_search(rows) + told_ties(rows),
    }


def summarise_rate(rows: Sequence[Row]) -> RateSummary:
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


def summarise_method(rows: Sequence[Row], predictions: Predictions | None = None) -> MethodSummary:
    """Return the figures of one task and method from its rows: at the chosen rate, and by rate."""
    of_rate: dict[float, list[Row]] = {}
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


def _task(
    reference: str | None, methods: dict[str, MethodSummary], rows: Mapping[str, Sequence[Row]], pairs: list[Difference]
) -> TaskSummary:
    return {
        "methods": methods,
        "differences": pairs,
        "tie_groups": tie_groups(reference, {name: found["mean"] for name, found in methods.items()}, pairs),
        "families": _families(methods, rows),
    }


def _families(methods: Mapping[str, MethodSummary], rows: Mapping[str, Sequence[Row]]) -> dict[str, list[BestOf]]:
    """Return the best-of-n curve over all settings of the methods that share a name, whatever their labels."""
    settings: dict[str, list[RateSummary]] = {}
    for label, found in methods.items():
        settings.setdefault(family_of(rows[label][0]), []).extend(found["by_lr"].values())
    return {name: best_of_n(sorted(tried, key=_merit)) for name, tried in settings.items()}


def _compare_all(
    reference: str | None, scores: Mapping[str, Runs], predictions: Predictions, cells: Cells
) -> dict[str, list[Difference]]:
    """Compare the reference with each other method within each task, corrected over all tasks together."""
    found = [(task, pair) for task, runs in scores.items() for pair in _compare(reference, runs, predictions, cells)]
    by_task: dict[str, list[Difference]] = {task: [] for task in scores}
    for (task, _), pair in zip(found, corrected([pair for _, pair in found]), strict=True):
        by_task[task].append(pair)
    return by_task


def _compare(reference: str | None, runs: Runs, predictions: Predictions, cells: Cells) -> list[Difference]:
    marks = mark({key: predictions[key] for key in _keys(runs.values()) if key in predictions})
    return [_pair(pair, runs, marks, cells) for pair in reference_pairs(list(runs), reference)]


def _pair(names: tuple[str, str], runs: Runs, marks: Mapping[str, Marks], cells: Cells) -> Difference:
    first, second = runs[names[0]], runs[names[1]]
    accuracies = [{seed: run.accuracy for seed, run in each.items()} for each in (first, second)]
    found = with_items(difference(names, accuracies[0], accuracies[1], cells), first, second, marks)
    return with_volatility(found, first, second, cells)


def _keys(by_method: Iterable[Mapping[int, Finished]]) -> list[str]:
    return [run.run_key for by_seed in by_method for run in by_seed.values()]


def _grid(rows: Sequence[Row]) -> Grid:
    """Return the rows by task and method, read once: a sweep of many methods costs no more a method."""
    grid: Grid = {}
    for row in rows:
        grid.setdefault(str(row["task"]), {}).setdefault(str(row["method"]), []).append(row)
    return grid


def _finished(rows: Sequence[Row], lr: float) -> dict[int, Finished]:
    """Return the runs at the rate that may be compared: the committed ones, but none where others were stopped."""
    mine = [row for row in rows if float(row["lr"]) == lr]
    if _seeds(mine, "stopped"):
        return {}
    return {
        row["seed"]: Finished(str(row["run_key"]), float(row["accuracy"]), row.get("train_loss_volatility"))
        for row in mine
        if row["status"] == "committed"
    }


def _seeds(rows: Sequence[Row], status: str) -> list[int]:
    return sorted(row["seed"] for row in rows if row["status"] == status)


def _interval(rows: Sequence[Row], key: str) -> Interval | None:
    """Return the interval of the mean over the rows that have the figure."""
    known = [row for row in rows if row.get(key) is not None]
    return mean_interval([float(row[key]) for row in known], [_cell(row) for row in known])


def _cell(row: Row) -> Cell:
    """Return the seeds of a run's start and of its order; a row of before there were two has one for both."""
    return int(row.get("init_seed", row["seed"])), int(row.get("data_seed", row["seed"]))


def _known(rows: Sequence[Row], key: str) -> list[float]:
    return [float(row[key]) for row in rows if row.get(key) is not None]


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _refuse_repeated(rows: Sequence[Row]) -> None:
    """A run counted twice would narrow every interval: refuse it."""
    seen: set[tuple[str, str, float, int]] = set()
    for row in rows:
        place = (str(row["task"]), str(row["method"]), float(row["lr"]), int(row["seed"]))
        if place in seen:
            task, method, lr, seed = place
            raise ValueError(
                f"Two results for task {task!r}, method {method!r}, lr {lr:g}, seed {seed}. Methods that differ in "
                "their settings need labels that differ."
            )
        seen.add(place)
