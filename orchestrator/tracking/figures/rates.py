"""Sensitivity to the learning rate, for a tracker: a line a method over its rates, with whatever was lost below."""

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
    if all(len(one["by_lr"]) < 2 for methods in tasks.values() for one in methods.values()):
        return None
    figure, all_axes = panels(len(tasks), height=3.6)
    for axes, (task, methods) in zip(all_axes, tasks.items(), strict=True):
        rates = sorted({found["lr"] for one in methods.values() for found in one["by_lr"].values()})
        few = len(rates) <= FEW
        shown, x = best_methods(methods, MOST), {lr: place if few else lr for place, lr in enumerate(rates)}
        axes.update_datalim([(at, 0.0) for at in x.values()], updatey=False)  # rates of signs alone, too
        for number, (label, one) in enumerate(shown.items()):
            _line(axes, number, label, one, x)
        if few:
            axes.set_xticks(range(len(rates)), [rate(lr) for lr in rates])
        else:
            axes.set_xscale("log")
        axes.set_title(task)
        axes.set_xlabel("\n".join(["learning rate", *_help(shown)]))
        axes.set_ylabel("test accuracy in percent")
    legend(figure, all_axes)
    return figure


def _help(methods: Mapping[str, Any]) -> list[str]:
    """Return how to read what is in a panel, and nothing else, in short lines."""
    found = [one for method in methods.values() for one in method["by_lr"].values()]
    hollow = "hollow: seeds left by a search" if any(_hollow(one) for one in found) else ""
    return [line for line in (meanings([signs_of(one) for one in found]), hollow) if line]


def _hollow(one: Mapping[str, Any]) -> bool:
    """Return whether a mean is over the seeds that a search has left."""
    return one["mean"] is not None and bool(one["dropped"] or one.get("stopped"))


def _line(axes: Axes, number: int, label: str, method: Mapping[str, Any], x: Mapping[float, float]) -> None:
    look: dict[str, Any] = {"color": f"C{number % 10}", "marker": MARKERS[number % len(MARKERS)]}
    found = sorted(method["by_lr"].values(), key=lambda one: one["lr"])
    done = [one for one in found if one["mean"] is not None]
    axes.plot([x[one["lr"]] for one in done], [100 * one["mean"] for one in done], label=label, **look)
    for one in done:
        at, mean = x[one["lr"]], 100 * one["mean"]
        if one["interval"]:
            axes.vlines(at, *(100 * end for end in one["interval"]), color=look["color"])
        if _hollow(one):
            axes.plot(at, mean, markerfacecolor="white", **look)
    below: dict[str, Any] = {"color": look["color"], "transform": axes.get_xaxis_transform()}
    for one in found:
        if signs := signs_of(one):
            axes.text(x[one["lr"]], 0.02 + 0.04 * number, signs, ha="center", size="x-small", **below)
