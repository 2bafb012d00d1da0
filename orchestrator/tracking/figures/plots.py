"""What the figures of a tracker are made with: panels, one legend for all of them, and a PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MOST = 24  # methods a panel: more cannot be told apart by eye, and the table has them all


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG; the same figure gives the same bytes."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    return content.getvalue()


def panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``count`` panels, two a row, through the object interface: pyplot would keep it for ever."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(2, max(1, count))
    lines = max(1, -(-count // columns))
    figure = Figure(figsize=(6.4 * columns, height * lines + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(lines, columns, index + 1) for index in range(count)]
    return figure, axes


def legend(figure: Figure, all_axes: Sequence[Axes]) -> None:
    """Put one legend below all panels, each label once."""
    found: dict[str, Any] = {}
    for axes in all_axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(
            list(found.values()),
            list(found),
            loc="outside lower center",
            ncols=2 * min(2, len(all_axes)),
            fontsize="small",
        )


TABLE, RUNS = "tables/accuracy.json", "tables/runs.json"
