"""Learning curves by method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator import wording
from orchestrator.report.loss_curves import Band, Curve, curve_band
from orchestrator.tracking.figures.plots import legend, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def curves_figure(tasks: Mapping[str, Mapping[str, Band | None]], single: Sequence[Curve] = ()) -> Figure:
    """Draw each task's training losses: a line for the mean of a method's seeds, a band from the lowest to the highest.

    ``single`` are curves to be drawn thinly behind, where the figure is about one method.
    """
    figure, all_axes = panels(len(tasks), height=3.6)
    for axes, (task, bands) in zip(all_axes, tasks.items(), strict=True):
        for curve in (band for one in single if (band := curve_band([one]))):
            axes.plot(curve.steps, curve.mean, color="0.75", linewidth=0.8, label="a seed")
        for number, (method, band) in enumerate(bands.items()):
            if band is None:
                continue
            color, line = f"C{number % 10}", ("-", "--", ":")[number // 10 % 3]
            label = f"{method} ({wording.count(band.seeds, 'seed')})"
            axes.plot(band.steps, band.mean, label=label, color=color, linestyle=line)
            if band.seeds > 1:
                axes.fill_between(band.steps, band.low, band.high, color=color, alpha=0.2, linewidth=0)
        axes.set_title(task)
        axes.set_xlabel("step (line: mean of the seeds; band: from the lowest to the highest)")
        axes.set_ylabel("training loss")
    legend(figure, all_axes)
    return figure
