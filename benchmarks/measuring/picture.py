"""The picture of all benches: one panel per bench, with ratios as points, their intervals as lines, targets as bars."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring.measure import ITSELF, Result
from benchmarks.measuring.rows import Measured

COLOURS = {True: "#1a7f37", False: "#c62828", None: "#555555"}
ROW_INCHES = 0.24


def shown(results: Sequence[Result]) -> list[Result]:
    """Return the rows that have a ratio to another arm."""
    return [row for row in results if row.reference not in (ITSELF, row.arm) and math.isfinite(row.ratio)]


def draw(measured: Sequence[Measured], titles: dict[str, str], path: Path) -> None:
    """Write the picture to ``path``. Write nothing if no bench has a ratio."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = [(one.bench, shown(one.results)) for one in measured if shown(one.results)]
    if not panels:
        return
    heights = [ROW_INCHES * len(rows) + 1.0 for _, rows in panels]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(11, sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for axis, (bench, rows) in zip(axes[:, 0], panels, strict=True):
        _panel(axis, titles.get(bench, bench), rows)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(axis: Any, title: str, rows: Sequence[Result]) -> None:
    for place, row in enumerate(rows):
        colour = COLOURS[row.met]
        if math.isfinite(row.ratio_low):
            axis.plot([row.ratio_low, row.ratio_high], [place, place], color=colour, linewidth=2)
        axis.plot(row.ratio, place, "o", color=colour, markersize=4)
        if row.target is not None:
            axis.plot(float(row.target.split()[2]), place, "|", color="black", markersize=11, markeredgewidth=2)
    axis.axvline(1, color="#bbbbbb", linewidth=1, zorder=0)
    axis.set_xscale("log")
    axis.set_yticks(range(len(rows)), [f"{row.case}: {row.arm} / {row.reference}" for row in rows], fontsize=7)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("{x:g}")
    axis.tick_params(axis="x", which="both", labelsize=7)
    axis.set_title(f"{title} (ratio; black bar: target; green met, red missed)", fontsize=9, loc="left")
