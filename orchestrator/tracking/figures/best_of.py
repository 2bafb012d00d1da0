"""Expected best of n settings, for a tracker: one line per method over how many of its settings are tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.tracking.figures.plots import legend, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def best_of_figure(summary: Mapping[str, Any]) -> Figure | None:
    """Draw the test accuracy that the best of n settings, chosen by validation, reaches on average.

    A task where no method has two settings has no panel. None where that leaves no panel.
    """
    curves = {task: content["families"] for task, content in summary["tasks"].items()}
    drawn = {task: families for task, families in curves.items() if any(len(curve) > 1 for curve in families.values())}
    if not drawn:
        return None
    figure, all_axes = panels(len(drawn), height=3.6)
    for axes, (task, families) in zip(all_axes, drawn.items(), strict=True):
        for number, (name, curve) in enumerate(families.items()):
            if curve:
                tried = [point["n"] for point in curve]
                accuracies = [100 * point["test"] for point in curve]
                axes.plot(tried, accuracies, f"C{number % 10}o-", markersize=3, label=name)
        axes.set_xticks(sorted({point["n"] for curve in families.values() for point in curve}))
        axes.set_title(task)
        axes.set_xlabel("settings tried; compare methods at the same number")
        axes.set_ylabel("expected test accuracy in percent")
    legend(figure, all_axes)
    return figure
