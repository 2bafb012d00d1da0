"""Expected best of n settings, for a tracker: a line a method over how many of its settings are tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.tracking.figures.plots import legend, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def budgets_figure(summary: Mapping[str, Any]) -> Figure | None:
    """Draw what the best of n settings, chosen by validation, reaches on test; None where no method has two settings.

    A task in which none has two has no panel.
    """
    curves = {task: content["families"] for task, content in summary["tasks"].items()}
    shown = {task: families for task, families in curves.items() if any(len(one) > 1 for one in families.values())}
    if not shown:
        return None
    figure, all_axes = panels(len(shown), height=3.6)
    for axes, (task, families) in zip(all_axes, shown.items(), strict=True):
        for number, (name, curve) in enumerate(families.items()):
            if curve:
                tried = [one["n"] for one in curve]
                axes.plot(tried, [100 * one["test"] for one in curve], f"C{number % 10}o-", markersize=3, label=name)
        axes.set_xticks(sorted({one["n"] for curve in families.values() for one in curve}))
        axes.set_title(task)
        axes.set_xlabel("settings tried; compare methods at the same number")
        axes.set_ylabel("expected test accuracy in percent")
    legend(figure, all_axes)
    return figure
