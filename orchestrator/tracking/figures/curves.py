"""Training losses by method, for a tracker: one panel per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator import wording
from orchestrator.report.loss_curves import Band, Curve, curve_band
from orchestrator.tracking.figures.plots import legend, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def curves_figure(tasks: Mapping[str, Mapping[str, Band | None]], single: Sequence[Curve] = ()) -> Figure:
    """Draw the training losses of each task: per method the mean of its seeds as a line, their range as a band.

    ``tasks`` has the band of each method, or None where no run of the method has a step log. ``single`` are the curves
    of single runs, drawn thinly behind in a figure of one method.
    """
    figure, all_axes = panels(len(tasks), height=3.6)
    for axes, (task, bands) in zip(all_axes, tasks.items(), strict=True):
        for seed in (band for curve in single if (band := curve_band([curve]))):
            axes.plot(seed.steps, seed.mean, color="0.75", linewidth=0.8, label="a seed")
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
