"""Every figure of ``summary.json``: each method at the rate that validation chose, the differences, the averages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.summary.all_tasks import macro_averages
from orchestrator.summary.best_of import best_of_n
from orchestrator.summary.comparisons import Finished
from orchestrator.summary.differences import differences_by_task
from orchestrator.summary.rates import ranking_key, summarise_method
from orchestrator.summary.reference import most_tried, reference_method
from orchestrator.summary.schema import (
    BestOf,
    Difference,
    Figures,
    MethodSummary,
    Predictions,
    RateSummary,
    ResultRow,
    TaskSummary,
    family_of,
)
from orchestrator.summary.table import ResultTable
from orchestrator.summary.tie_groups import tie_groups


def summarise(rows: Sequence[ResultRow], predictions: Predictions) -> Figures:
    """Return the figures of ``summary.json`` from the rows of ``results.jsonl`` and the predictions by run key.

    Only committed runs enter a mean. Diverged and failed runs are counted and their seeds listed; dropped and stopped
    runs are counted. The reference is one of the methods that were tried on the most tasks. Predictions may be missing
    for any run: then the figures over items are null.

    Raises:
        ValueError: if a run is there twice, or if two compared runs answered different items.
    """
    table = ResultTable(rows)
    methods = {
        task: {method: summarise_method(table, task, method, predictions) for method in table.methods(task)}
        for task in table.tasks()
    }
    reference = reference_method(most_tried(rows))
    runs = {
        task: {method: _comparable(table, task, method, summary["lr"]) for method, summary in of_task.items()}
        for task, of_task in methods.items()
    }
    differences = differences_by_task(reference, methods, runs, predictions, table.cells())
    tasks = {task: _task(table, task, methods[task], reference, differences[task]) for task in table.tasks()}
    return {
        "reference": reference,
        "tasks": tasks,
        "macro": macro_averages(tasks, runs, table.methods(), reference, table.cells()),
    }


def _comparable(table: ResultTable, task: str, method: str, lr: float) -> dict[int, Finished]:
    """Return by seed the committed runs that may be compared: no run at all if rungs stopped seeds at this rate."""
    if table.rows(task, method, lr, "stopped"):
        return {}
    return {
        row["seed"]: Finished(str(row["run_key"]), float(row["accuracy"]), row.get("train_loss_volatility"))
        for row in table.rows(task, method, lr, "committed")
    }


def _task(
    table: ResultTable,
    task: str,
    methods: dict[str, MethodSummary],
    reference: str | None,
    differences: list[Difference],
) -> TaskSummary:
    means = {method: summary["mean"] for method, summary in methods.items()}
    return {
        "methods": methods,
        "differences": differences,
        "tie_groups": tie_groups(reference, means, differences),
        "families": _families(table, task, methods),
    }


def _families(table: ResultTable, task: str, methods: Mapping[str, MethodSummary]) -> dict[str, list[BestOf]]:
    """Return the best-of-n curve over all settings of the methods that share a name, whatever their labels."""
    settings: dict[str, list[RateSummary]] = {}
    for label, summary in methods.items():
        settings.setdefault(family_of(table.rows(task, label)[0]), []).extend(summary["by_lr"].values())
    return {name: best_of_n(sorted(tried, key=ranking_key)) for name, tried in settings.items()}
