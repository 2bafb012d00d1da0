"""The few figures and tables that a sweep's parents show in a tracker, from results and the steps of its runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import wording
from orchestrator.curves import Band, Curve, chosen, curve_band, losses
from orchestrator.rate_plot import best_methods
from orchestrator.summary import Row
from orchestrator.tracking.budgets_figure import budgets_figure
from orchestrator.tracking.plots import MOST, legend, panels, png
from orchestrator.tracking.rates_figure import rates_figure
from orchestrator.tracking.shown import LOST, seeds_left

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACCURACY, CURVES = "figures/accuracy.png", "figures/learning_curves.png"
RATES, BUDGETS = "figures/learning_rates.png", "figures/best_of_n.png"
SQUARE = (3.6, 3.6)  # inches: MLflow shows a chart's picture 256 pixels wide, and letters must be read there
TABLE, RUNS = "tables/accuracy.json", "tables/runs.json"
SWEEP_TABLES, GROUP_TABLES = (TABLE,), (RUNS,)
COLUMNS = (
    *("task", "method", "lr", "n", "mean_accuracy", "sd_accuracy", "interval_low", "interval_high", "worst_seed"),
    *(*LOST, "base_accuracy", "train_loss_volatility"),
)
RUN_COLUMNS = (
    *("seed", "lr", "status", "accuracy", "validation_accuracy", "eval_loss", "train_loss_volatility"),
    *("train_seconds", "run_key"),
)


def write_sweep_files(summary: Mapping[str, Any], rows: Sequence[Row], folder: Path, place: Path) -> None:
    """Write what the sweep's own page shows below ``place``."""
    _put(place / ACCURACY, png(accuracy_figure(summary, rows)))
    bands = {
        task: {
            method: curve_band(losses(chosen(rows, task, method, one), folder))
            for method, one in best_methods(content["methods"], MOST).items()
        }
        for task, content in summary["tasks"].items()
    }
    _put(place / CURVES, png(curves_figure(bands)))
    for name, figure in ((RATES, rates_figure(summary)), (BUDGETS, budgets_figure(summary))):
        if figure:
            _put(place / name, png(figure))
    _put(place / TABLE, table(COLUMNS, accuracy_rows(summary)))


def write_charts(summary: Mapping[str, Any], rows: Sequence[Row], place: Path) -> dict[str, Path]:
    """Write small figures below ``place``, one a task; return them by the names that they have among the charts."""
    found: dict[str, Path] = {}
    for task, content in summary["tasks"].items():
        alone = {"tasks": {task: content}}
        drawn = {"accuracy": accuracy_figure(alone, rows), "learning rates": rates_figure(alone)}
        for what, figure in (drawn | {"best of n": budgets_figure(alone)}).items():
            if figure:
                figure.set_size_inches(SQUARE)
                found[f"{what} {task}"] = place / f"{len(found)}.png"
                _put(found[f"{what} {task}"], png(figure))
    return found


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
            lost = [one[what] for what in LOST]
            found.append([*head, *lost, one["base_accuracy"], one["volatility"]])
    return found


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """Return a table as MLflow's pages read one: what its ``log_table`` writes, which adds to a table that is there."""
    return json.dumps({"columns": list(columns), "data": [list(row) for row in rows]}, allow_nan=False).encode()


def accuracy_figure(summary: Mapping[str, Any], rows: Sequence[Row]) -> Figure:
    """Draw each task's methods: mean, 95 % interval where there are two seeds, every seed, and the untrained base."""
    tasks = summary["tasks"]
    most = max((len(best_methods(content["methods"], MOST)) for content in tasks.values()), default=1)
    figure, all_axes = panels(len(tasks), height=1.2 + 0.35 * most)
    for axes, (task, content) in zip(all_axes, tasks.items(), strict=True):
        best = best_methods(content["methods"], MOST)
        for y, (method, one) in enumerate(best.items()):
            seeds = [100 * float(row["accuracy"]) for row in chosen(rows, task, method, one)]
            if one["mean"] is not None:
                axes.plot(seeds, [y] * len(seeds), "o", color="0.65", markersize=4, label="a seed")
                axes.plot(100 * one["mean"], y, "D", color="C0", markersize=6, label="mean")
            if one["interval"]:
                axes.hlines(y, *(100 * end for end in one["interval"]), color="C0", label="95 % interval")
        bases = [one["base_accuracy"] for one in best.values() if one["base_accuracy"] is not None]
        if bases:
            axes.axvline(100 * bases[0], color="0.4", linestyle=":", label="untrained base")
        axes.set_yticks(range(len(best)), [_labelled(method, one) for method, one in best.items()])
        axes.set_ylim(len(best) - 0.5, -0.5)
        axes.set_title(_title(task, len(best), len(content["methods"])))
        axes.set_xlabel("test accuracy in percent")
    legend(figure, all_axes)
    return figure


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


def _title(task: str, drawn: int, there: int) -> str:
    return task if drawn == there else f"{task}: the best {drawn} of {there}, all in {TABLE}"


def _labelled(method: str, one: Mapping[str, Any]) -> str:
    return f"{method}\n{seeds_left(one)}"


def _put(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
