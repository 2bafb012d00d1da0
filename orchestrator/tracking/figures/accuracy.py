"""Accuracies by method, as a table and as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.report.figures.rates import best_methods
from orchestrator.report.loss_curves import chosen
from orchestrator.summary.phrases import seeds_left
from orchestrator.summary.schema import LOST, ResultRow
from orchestrator.tracking.figures.plots import MOST, TABLE, legend, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


COLUMNS = (
    *("task", "method", "lr", "n", "mean_accuracy", "sd_accuracy", "interval_low", "interval_high", "worst_seed"),
    *(*LOST, "base_accuracy", "train_loss_volatility"),
)


def accuracy_rows(summary: Mapping[str, Any]) -> list[list[Any]]:
    """Return the rows of the table of accuracies: one a task and method, in the order of `COLUMNS`."""
    found = []
    for task, content in summary["tasks"].items():
        for method, one in content["methods"].items():
            low, high = one["interval"] or (None, None)
            head = [task, method, one["lr"], one["n"], one["mean"], one["sd"], low, high, one["worst_seed"]]
            lost = [one[what] for what in LOST]
            found.append([*head, *lost, one["base_accuracy"], one["volatility"]])
    return found


def accuracy_figure(summary: Mapping[str, Any], rows: Sequence[ResultRow]) -> Figure:
    """Draw each task's methods: mean, 95 % interval where there are two seeds, every seed, and the untrained base."""
    tasks = summary["tasks"]
    most = max((len(best_methods(content["methods"], MOST)) for content in tasks.values()), default=1)
    figure, all_axes = panels(len(tasks), height=1.2 + 0.35 * most)
    for axes, (task, content) in zip(all_axes, tasks.items(), strict=True):
        best = best_methods(content["methods"], MOST)
        for y, (method, one) in enumerate(best.items()):
            seeds = [100 * float(row["accuracy"]) for row in chosen(rows, task, method, one)]
            if one["mean"] is not None:
                axes.plot(seeds, [y] * len(seeds), "o", color="0.65", markersize=4, label="a seed")
                axes.plot(100 * one["mean"], y, "D", color="C0", markersize=6, label="mean")
            if one["interval"]:
                axes.hlines(y, *(100 * end for end in one["interval"]), color="C0", label="95 % interval")
        bases = [one["base_accuracy"] for one in best.values() if one["base_accuracy"] is not None]
        if bases:
            axes.axvline(100 * bases[0], color="0.4", linestyle=":", label="untrained base")
        axes.set_yticks(range(len(best)), [_labelled(method, one) for method, one in best.items()])
        axes.set_ylim(len(best) - 0.5, -0.5)
        axes.set_title(_title(task, len(best), len(content["methods"])))
        axes.set_xlabel("test accuracy in percent")
    legend(figure, all_axes)
    return figure


def _title(task: str, drawn: int, there: int) -> str:
    return task if drawn == there else f"{task}: the best {drawn} of {there}, all in {TABLE}"


def _labelled(method: str, one: Mapping[str, Any]) -> str:
    return f"{method}\n{seeds_left(one)}"
