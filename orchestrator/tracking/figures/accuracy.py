"""Test accuracies by method, for a tracker: one panel per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.report.figures.rates import best_methods
from orchestrator.report.loss_curves import chosen
from orchestrator.summary.phrases import seeds_left
from orchestrator.summary.schema import ResultRow
from orchestrator.tracking.figures.plots import MOST, legend, panels
from orchestrator.tracking.figures.tables import ACCURACY_TABLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def accuracy_figure(summary: Mapping[str, Any], rows: Sequence[ResultRow]) -> Figure:
    """Draw each task's methods: mean, every seed, the untrained base, and the 95 % interval of two or more seeds."""
    tasks = summary["tasks"]
    most = max((len(best_methods(content["methods"], MOST)) for content in tasks.values()), default=1)
    figure, all_axes = panels(len(tasks), height=1.2 + 0.35 * most)
    for axes, (task, content) in zip(all_axes, tasks.items(), strict=True):
        best = best_methods(content["methods"], MOST)
        for y, (method, statistics) in enumerate(best.items()):
            seeds = [100 * float(row["accuracy"]) for row in chosen(rows, task, method, statistics)]
            if statistics["mean"] is not None:
                axes.plot(seeds, [y] * len(seeds), "o", color="0.65", markersize=4, label="a seed")
                axes.plot(100 * statistics["mean"], y, "D", color="C0", markersize=6, label="mean")
            if statistics["interval"]:
                axes.hlines(y, *(100 * end for end in statistics["interval"]), color="C0", label="95 % interval")
        bases = [base for statistics in best.values() if (base := statistics["base_accuracy"]) is not None]
        if bases:
            axes.axvline(100 * bases[0], color="0.4", linestyle=":", label="untrained base")
        labels = [f"{method}\n{seeds_left(statistics)}" for method, statistics in best.items()]
        axes.set_yticks(range(len(best)), labels)
        axes.set_ylim(len(best) - 0.5, -0.5)
        axes.set_title(_title(task, len(best), len(content["methods"])))
        axes.set_xlabel("test accuracy in percent")
    legend(figure, all_axes)
    return figure


def _title(task: str, drawn: int, count: int) -> str:
    return task if drawn == count else f"{task}: the best {drawn} of {count}, all in {ACCURACY_TABLE}"
