"""The parts that all figures of a tracker share: panels, one legend for all panels, and the PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MOST = 24  # methods per panel: nobody can tell more apart by eye, and the table has all methods


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG; the same figure gives the same bytes."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    return content.getvalue()


def panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure and its ``count`` panels, two per row; ``height`` is that of a panel, in inches.

    Made without pyplot, because pyplot keeps every figure until the process ends.
    """
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
    handles: dict[str, Any] = {}
    for axes in all_axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside lower center",
            ncols=2 * min(2, len(all_axes)),
            fontsize="small",
        )
