"""The few figures and tables that a sweep's parents show in a tracker, from results and the steps of its runs."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import wording
from orchestrator.curves import Band, Curve, chosen, curve_band, losses
from orchestrator.summary import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACCURACY, CURVES = "figures/accuracy.png", "figures/learning_curves.png"
TABLE, RUNS = "tables/accuracy.json", "tables/runs.json"
SWEEP_TABLES, GROUP_TABLES = (TABLE,), (RUNS,)
MOST = 24  # methods a panel: more cannot be told apart by eye, and the table has them all
COLUMNS = (
    *("task", "method", "lr", "n", "mean_accuracy", "sd_accuracy", "interval_low", "interval_high", "worst_seed"),
    *("diverged", "failed", "stopped", "base_accuracy", "train_loss_volatility"),
)
RUN_COLUMNS = (
    *("seed", "lr", "status", "accuracy", "validation_accuracy", "eval_loss", "train_loss_volatility"),
    *("train_seconds", "run_key"),
)


def write_sweep_files(summary: Mapping[str, Any], rows: Sequence[Row], folder: Path, place: Path) -> None:
    """Write what the sweep's own page shows below ``place``."""
    _put(place / ACCURACY, png(accuracy_figure(summary, rows)))
    panels = {
        task: {
            method: curve_band(losses(chosen(rows, task, method, one), folder))
            for method, one in _best(content["methods"])
        }
        for task, content in summary["tasks"].items()
    }
    _put(place / CURVES, png(curves_figure(panels)))
    _put(place / TABLE, table(COLUMNS, accuracy_rows(summary)))


def write_group_files(
    task: str, method: str, one: Mapping[str, Any], rows: Sequence[Row], folder: Path, place: Path
) -> None:
    """Write what the page of a task and a method shows below ``place``."""
    curves = losses(chosen(rows, task, method, one), folder)
    _put(place / CURVES, png(curves_figure({task: {method: curve_band(curves)}}, single=curves)))
    mine = [row for row in rows if (row["task"], row["method"]) == (task, method)]
    _put(place / RUNS, table(RUN_COLUMNS, [[row.get(name) for name in RUN_COLUMNS] for row in mine]))


def accuracy_rows(summary: Mapping[str, Any]) -> list[list[Any]]:
    """Return the rows of the table of accuracies: one a task and method, in the order of `COLUMNS`."""
    found = []
    for task, content in summary["tasks"].items():
        for method, one in content["methods"].items():
            low, high = one["interval"] or (None, None)
            head = [task, method, one["lr"], one["n"], one["mean"], one["sd"], low, high, one["worst_seed"]]
            lost = [one[what] for what in ("diverged", "failed", "stopped")]
            found.append([*head, *lost, one["base_accuracy"], one["volatility"]])
    return found


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """Return a table as MLflow's pages read one: what its ``log_table`` writes, which adds to a table that is there."""
    return json.dumps({"columns": list(columns), "data": [list(row) for row in rows]}, allow_nan=False).encode()


def accuracy_figure(summary: Mapping[str, Any], rows: Sequence[Row]) -> Figure:
    """Draw each task's methods: mean, 95 % interval where there are two seeds, every seed, and the untrained base."""
    tasks = summary["tasks"]
    most = max((len(_best(content["methods"])) for content in tasks.values()), default=1)
    figure, panels = _panels(len(tasks), height=1.2 + 0.35 * most)
    for axes, (task, content) in zip(panels, tasks.items(), strict=True):
        best = _best(content["methods"])
        for y, (method, one) in enumerate(best):
            seeds = [100 * float(row["accuracy"]) for row in chosen(rows, task, method, one)]
            if one["mean"] is not None:
                axes.plot(seeds, [y] * len(seeds), "o", color="0.65", markersize=4, label="a seed")
                axes.plot(100 * one["mean"], y, "D", color="C0", markersize=6, label="mean")
            if one["interval"]:
                axes.hlines(y, *(100 * end for end in one["interval"]), color="C0", label="95 % interval")
        bases = [one["base_accuracy"] for _, one in best if one["base_accuracy"] is not None]
        if bases:
            axes.axvline(100 * bases[0], color="0.4", linestyle=":", label="untrained base")
        axes.set_yticks(range(len(best)), [_labelled(method, one) for method, one in best])
        axes.set_ylim(len(best) - 0.5, -0.5)
        axes.set_title(_title(task, len(best), len(content["methods"])))
        axes.set_xlabel("test accuracy in percent")
    _legend(figure, panels)
    return figure


def curves_figure(panels: Mapping[str, Mapping[str, Band | None]], single: Sequence[Curve] = ()) -> Figure:
    """Draw each task's training losses: a line for the mean of a method's seeds, a band from the lowest to the highest.

    ``single`` are curves to be drawn thinly behind, where the figure is about one method.
    """
    figure, all_axes = _panels(len(panels), height=3.6)
    for axes, (task, bands) in zip(all_axes, panels.items(), strict=True):
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
    _legend(figure, all_axes)
    return figure


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG; the same figure gives the same bytes."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    return content.getvalue()


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``count`` panels, two a row, through the object interface: pyplot would keep it for ever."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(2, max(1, count))
    lines = max(1, -(-count // columns))
    figure = Figure(figsize=(6.4 * columns, height * lines + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(lines, columns, index + 1) for index in range(count)]
    return figure, axes


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """Put one legend below all panels, each label once."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=4, fontsize="small")


def _best(methods: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the methods to draw, in their own order: those with the best means, where there are too many."""
    if len(methods) <= MOST:
        return list(methods.items())
    ranked = sorted(methods, key=lambda name: -(methods[name]["mean"] or 0.0))[:MOST]
    return [(name, one) for name, one in methods.items() if name in ranked]


def _title(task: str, drawn: int, there: int) -> str:
    return task if drawn == there else f"{task}: the best {drawn} of {there}, all in {TABLE}"


def _labelled(method: str, one: Mapping[str, Any]) -> str:
    lost = one["diverged"] + one["failed"]
    stopped = f", {one['stopped']} stopped" if one["stopped"] else ""
    return f"{method}\nn {one['n']}" + (f", {lost} lost" if lost else "") + stopped


def _put(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
