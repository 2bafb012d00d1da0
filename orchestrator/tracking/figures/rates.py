"""Sensitivity to the learning rate, for a tracker: one line per method over its rates, signs for lost runs below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.report.figures.axis import FEW
from orchestrator.report.figures.rates import best_methods, meanings, signs_of
from orchestrator.tracking.figures.plots import MOST, legend, panels
from orchestrator.wording import rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "os^Dvp*"  # seven: with ten colours, no two of the methods in a panel look alike


def rates_figure(summary: Mapping[str, Any]) -> Figure | None:
    """Draw each task's mean test accuracy by rate with 95 % intervals; None where no method has two rates."""
    tasks = {task: content["methods"] for task, content in summary["tasks"].items()}
    if all(len(method["by_lr"]) < 2 for methods in tasks.values() for method in methods.values()):
        return None
    figure, all_axes = panels(len(tasks), height=3.6)
    for axes, (task, methods) in zip(all_axes, tasks.items(), strict=True):
        rates = sorted({cell["lr"] for method in methods.values() for cell in method["by_lr"].values()})
        few = len(rates) <= FEW
        best, x = best_methods(methods, MOST), {lr: index if few else lr for index, lr in enumerate(rates)}
        axes.update_datalim([(at, 0.0) for at in x.values()], updatey=False)  # a rate without a mean has its signs
        for number, (label, method) in enumerate(best.items()):
            _line(axes, number, label, method, x)
        if few:
            axes.set_xticks(range(len(rates)), [rate(lr) for lr in rates])
        else:
            axes.set_xscale("log")
        axes.set_title(task)
        axes.set_xlabel("\n".join(["learning rate", *_help(best)]))
        axes.set_ylabel("test accuracy in percent")
    legend(figure, all_axes)
    return figure


def _help(methods: Mapping[str, Any]) -> list[str]:
    """Return short lines that explain the signs and markers of a panel, only those that the panel has."""
    cells = [cell for method in methods.values() for cell in method["by_lr"].values()]
    hollow = "hollow: seeds left by a search" if any(_hollow(cell) for cell in cells) else ""
    return [line for line in (meanings([signs_of(cell) for cell in cells]), hollow) if line]


def _hollow(cell: Mapping[str, Any]) -> bool:
    """Tell whether a search has stopped or dropped seeds of the cell, so that its mean is over the others."""
    return cell["mean"] is not None and bool(cell["dropped"] or cell.get("stopped"))


def _line(axes: Axes, number: int, label: str, method: Mapping[str, Any], x: Mapping[float, float]) -> None:
    """Draw the method that has this number in its panel; ``x`` is where each rate lies on the axis."""
    look: dict[str, Any] = {"color": f"C{number % 10}", "marker": MARKERS[number % len(MARKERS)]}
    cells = sorted(method["by_lr"].values(), key=lambda cell: cell["lr"])
    measured = [cell for cell in cells if cell["mean"] is not None]
    axes.plot([x[cell["lr"]] for cell in measured], [100 * cell["mean"] for cell in measured], label=label, **look)
    for cell in measured:
        at, mean = x[cell["lr"]], 100 * cell["mean"]
        if cell["interval"]:
            axes.vlines(at, *(100 * end for end in cell["interval"]), color=look["color"])
        if _hollow(cell):
            axes.plot(at, mean, markerfacecolor="white", **look)
    below: dict[str, Any] = {"color": look["color"], "transform": axes.get_xaxis_transform()}
    for cell in cells:
        if signs := signs_of(cell):
            axes.text(x[cell["lr"]], 0.02 + 0.04 * number, signs, ha="center", size="x-small", **below)
