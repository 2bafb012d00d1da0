"""Statistics across seeds: every method at the rate that validation chose, with what diverged beside what finished."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import cast

from orchestrator.claims import claims, headline
from orchestrator.comparisons import (
    Finished,
    corrected,
    difference,
    mark,
    method_pairs,
    reference_method,
    with_items,
)
from orchestrator.intervals import seeds_needed, smallest_detectable_difference, spread, t_interval
from orchestrator.summary import (
    Difference,
    Macro,
    MacroMethod,
    MethodSummary,
    Predictions,
    RateSummary,
    Row,
    Summary,
    TaskSummary,
)
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

Scores = dict[str, dict[str, dict[int, Finished]]]
"""By task, method and seed, the committed runs at the chosen rates."""


def summarise(rows: Sequence[Row], predictions: Predictions) -> Summary:
    """Return the content of ``summary.json`` from the rows of ``results.jsonl`` and the predictions by run key.

    Runs that diverged or failed are counted and named, and enter no mean; those that a race dropped are counted.
    Predictions may be missing for any run.
    """
    _refuse_repeated(rows)
    methods = list(dict.fromkeys(str(row["method"]) for row in rows))
    tasks = {task: _methods_of(task, rows) for task in dict.fromkeys(str(row["task"]) for row in rows)}
    scores = {
        task: {name: _finished(rows, task, name, found["lr"]) for name, found in of.items()}
        for task, of in tasks.items()
    }
    summaries = _with_differences(tasks, scores, predictions)
    macro = macro_averages(summaries, scores, methods)
    reference = reference_method(methods)
    return {
        "reference": reference,
        "tasks": summaries,
        "macro": macro,
        "headline": headline(reference, summaries, macro, rows),
        "claims": claims(reference, summaries, macro),
    }


def summarise_rate(rows: Sequence[Row]) -> RateSummary:
    """Return the figures of one task, method and learning rate from its rows, one a seed."""
    done = [row for row in rows if row["status"] == "committed"]
    accuracies = [float(row["accuracy"]) for row in done]
    worst = min(done, key=lambda row: (row["accuracy"], row["seed"]), default=None)
    diverged, failed = (_seeds(rows, status) for status in ("diverged", "failed"))
    return {
        "lr": float(rows[0]["lr"]),
        "n": len(done),
        "mean": statistics.fmean(accuracies) if accuracies else None,
        "sd": spread(accuracies),
        "interval": t_interval(accuracies),
        "worst": float(worst["accuracy"]) if worst else None,
        "worst_seed": worst["seed"] if worst else None,
        "diverged": len(diverged),
        "diverged_seeds": diverged,
        "failed": len(failed),
        "failed_seeds": failed,
        "dropped": sum(row["status"] == "dropped" for row in rows),
        "volatility": _mean_of(done, "train_loss_volatility"),
        "validation_mean": _mean_of(done, "validation_accuracy"),
        "train_seconds": _mean_of(done, "train_seconds"),
        "trainable_parameters": next((row["trainable_parameters"] for row in done), None),
    }


def choose_rate(by_lr: Sequence[RateSummary]) -> RateSummary:
    """Return the learning rate to report: the fewest lost runs, then the best mean validation, never the test accuracy.

    A run is lost if it diverged, failed or was dropped by a race: a mean over the seeds that are left may be luck, so
    however well they did, their rate loses to one that lost fewer. A rate without a committed run loses to any with
    one. Ties go to the smaller rate.
    """

    def merit(found: RateSummary) -> tuple[bool, int, float, float]:
        validation = found["validation_mean"]
        lost = found["diverged"] + found["failed"] + found["dropped"]
        return found["n"] == 0, lost, -validation if validation is not None else float("inf"), found["lr"]

    return min(by_lr, key=merit)


def summarise_method(rows: Sequence[Row]) -> MethodSummary:
    """Return the figures of one task and method from its rows: at the chosen rate, and by rate."""
    rates = sorted({float(row["lr"]) for row in rows})
    by_lr = [summarise_rate([row for row in rows if float(row["lr"]) == lr]) for lr in rates]
    base = next((row["base_accuracy"] for row in rows if row.get("base_accuracy") is not None), None)
    chosen = {**choose_rate(by_lr), "base_accuracy": base, "by_lr": {repr(found["lr"]): found for found in by_lr}}
    return cast("MethodSummary", chosen)


def macro_averages(tasks: Mapping[str, TaskSummary], scores: Scores, methods: Sequence[str]) -> Macro:
    """Return the averages over tasks, and their differences as a family of comparisons of its own."""
    by_seed = {method: _macro_by_seed(scores, method) for method in methods}
    differences = [difference(pair, by_seed[pair[0]], by_seed[pair[1]]) for pair in method_pairs(methods)]
    return {
        "methods": {method: _macro_method(tasks, method, by_seed[method]) for method in methods},
        "differences": corrected(differences),
    }


def _macro_method(tasks: Mapping[str, TaskSummary], method: str, by_seed: Mapping[int, float]) -> MacroMethod:
    found = [task["methods"][method] for task in tasks.values() if method in task["methods"]]
    means = [each["mean"] for each in found if each["mean"] is not None]
    averages = list(by_seed.values())
    worst_seed = min(by_seed, key=lambda seed: (by_seed[seed], seed), default=None)
    return {
        "tasks": len(means),
        "mean": statistics.fmean(means) if len(means) == len(tasks) else None,
        "n": len(averages),
        "seed_mean": statistics.fmean(averages) if averages else None,
        "sd": spread(averages),
        "interval": t_interval(averages),
        "worst": None if worst_seed is None else by_seed[worst_seed],
        "worst_seed": worst_seed,
        "diverged": sum(each["diverged"] for each in found),
        "failed": sum(each["failed"] for each in found),
    }


def _macro_by_seed(scores: Scores, method: str) -> dict[int, float]:
    """Return the mean over tasks for every seed that finished on all of them."""
    of_tasks = [methods.get(method, {}) for methods in scores.values()]
    seeds = sorted(set.intersection(*(set(found) for found in of_tasks)))
    return {seed: statistics.fmean(found[seed].accuracy for found in of_tasks) for seed in seeds}


def _with_differences(
    tasks: Mapping[str, dict[str, MethodSummary]], scores: Scores, predictions: Predictions
) -> dict[str, TaskSummary]:
    """Compare all pairs within each task, corrected over the pairs of all tasks together."""
    found = [
        (task, pair) for task, methods in tasks.items() for pair in _compare(list(methods), scores[task], predictions)
    ]
    compared = zip([task for task, _ in found], corrected([pair for _, pair in found]), strict=True)
    by_task: dict[str, list[Difference]] = {task: [] for task in tasks}
    for task, pair in compared:
        by_task[task].append(pair)
    return {task: {"methods": methods, "differences": by_task[task]} for task, methods in tasks.items()}


def _compare(methods: list[str], runs: dict[str, dict[int, Finished]], predictions: Predictions) -> list[Difference]:
    keys = [run.run_key for by_seed in runs.values() for run in by_seed.values()]
    marks = mark({key: predictions[key] for key in keys if key in predictions})
    accuracies = {name: {seed: run.accuracy for seed, run in by_seed.items()} for name, by_seed in runs.items()}
    return [
        with_items(difference((a, b), accuracies[a], accuracies[b]), runs[a], runs[b], marks)
        for a, b in method_pairs(methods)
    ]


def _methods_of(task: str, rows: Sequence[Row]) -> dict[str, MethodSummary]:
    of_task = [row for row in rows if row["task"] == task]
    names = dict.fromkeys(str(row["method"]) for row in of_task)
    return {name: summarise_method([row for row in of_task if row["method"] == name]) for name in names}


def _finished(rows: Sequence[Row], task: str, method: str, lr: float) -> dict[int, Finished]:
    return {
        row["seed"]: Finished(str(row["run_key"]), float(row["accuracy"]))
        for row in rows
        if (row["task"], row["method"], float(row["lr"]), row["status"]) == (task, method, lr, "committed")
    }


def _seeds(rows: Sequence[Row], status: str) -> list[int]:
    return sorted(row["seed"] for row in rows if row["status"] == status)


def _mean_of(rows: Sequence[Row], key: str) -> float | None:
    values = [float(row[key]) for row in rows if row.get(key) is not None]
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
