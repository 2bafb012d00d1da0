"""The section of one task in the report, and the rows of its tables of champions and of lost runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from orchestrator import wording
from orchestrator.report.figures.best_of import draw_best_of
from orchestrator.report.figures.forest import Estimate, Forest, draw
from orchestrator.report.figures.panels import PanelPlot
from orchestrator.report.figures.rates import draw_rates
from orchestrator.report.gains import merge_verdict
from orchestrator.statistics.intervals import DIFFERENCES, SHARES
from orchestrator.summary.schema import Difference, RateSummary, ResultRow, Summary, TaskSummary, family_of
from orchestrator.summary.table import ResultTable


class TaskSection(NamedTuple):
    """The section of one task on the page; a figure that cannot be drawn is None.

    ``sensitivity`` has for each method its summary at each of ``rates``, None for a rate that was not tried.
    """

    name: str
    summary: TaskSummary
    accuracies: Forest | None
    differences: Forest | None
    rates: list[float]
    sensitivity: dict[str, list[RateSummary | None]]
    rate_plot: PanelPlot | None
    best_of_plot: PanelPlot | None


def task_section(
    task: str, summary: TaskSummary, table: ResultTable, chance: float | None, reference: str | None
) -> TaskSection:
    """Return the section of a task; ``chance`` is the accuracy (share) of guessing, if it is known."""
    methods = summary["methods"]
    rates = sorted({setting["lr"] for method in methods.values() for setting in method["by_lr"].values()})
    return TaskSection(
        name=task,
        summary=summary,
        accuracies=_accuracy_forest(task, summary, table, chance, reference),
        differences=_difference_forest(task, summary["differences"]),
        rates=rates,
        sensitivity={name: [method["by_lr"].get(repr(lr)) for lr in rates] for name, method in methods.items()},
        rate_plot=draw_rates(task, methods),
        best_of_plot=draw_best_of(task, summary["families"], _style_of(task, list(methods), table)),
    )


def _style_of(task: str, methods: Sequence[str], table: ResultTable) -> dict[str, int]:
    """Return the style number of each family: the position of its first method, so that all figures draw it alike."""
    families = {label: family_of(row) for label in methods for row in table.rows(task, label)[:1]}
    return {families.get(label, label): style for style, label in reversed(list(enumerate(methods)))}


def _accuracy_forest(
    task: str, summary: TaskSummary, table: ResultTable, chance: float | None, reference: str | None
) -> Forest | None:
    """Draw each method's mean test accuracy and its seeds at the chosen rate, with the untrained base and chance."""
    methods = summary["methods"]
    estimates = [
        Estimate(
            name,
            method["mean"],
            method["interval"],
            [float(row["accuracy"]) for row in table.rows(task, name, method["lr"], "committed")],
            _note(wording.percent(method["mean"]), wording.between(method["interval"])),
            strong=name == reference,
        )
        for name, method in methods.items()
        if method["mean"] is not None
    ]
    if not estimates:
        return None
    bases = [method["base_accuracy"] for method in methods.values() if method["base_accuracy"] is not None]
    references = [(f"untrained base {wording.percent(base)}", base) for base in bases[:1]]
    references += [(f"chance {wording.percent(chance)}", chance)] if chance is not None else []
    return draw(f"Test accuracy on {task}, in percent", estimates, references, SHARES)


def _difference_forest(where: str, differences: Sequence[Difference]) -> Forest | None:
    """Draw the reference's differences from every other method.

    The reference is the ``first`` method of the first difference. Pairs of other methods are not drawn.
    """
    estimates = [
        Estimate(
            f"against {pair['second']}",
            pair["mean"],
            pair["interval"],
            pair["values"],
            _note(wording.points(pair["mean"]), wording.between_points(pair["interval"])),
            strong=pair["verdict"] in ("ahead", "behind"),
        )
        for pair in differences
        if pair["mean"] is not None and pair["first"] == differences[0]["first"]
    ]
    if not estimates:
        return None
    title = f"{differences[0]['first']} against each other method on {where}, paired by seed, in points"
    return draw(title, estimates, [("no difference", 0.0)], DIFFERENCES)


def average_forest(summary: Summary) -> Forest | None:
    """Draw each method's average over the tasks; None for a single task."""
    estimates = [
        Estimate(
            name,
            average["mean"],
            average["interval"],
            [],
            _note(wording.percent(average["mean"]), wording.between(average["interval"])),
            strong=name == summary["reference"],
        )
        for name, average in summary["macro"]["methods"].items()
        if average["mean"] is not None
    ]
    if len(summary["tasks"]) < 2 or not estimates:
        return None
    return draw("Average accuracy over all tasks, in percent", estimates, [], SHARES)


def _note(mean: str, interval: str) -> str:
    return mean if interval == wording.NOTHING else f"{mean} ({interval})"


def champion_row(task: str, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return a champion's row of the table, from its ``evaluation.json``; a value that the file lacks is None."""
    keys = (
        "method lr seed accuracy_merged accuracy_unmerged gap_points item_flips largest_logit_difference "
        "examples_per_second_merged examples_per_second_unmerged path items base_accuracy"
    )
    row = {key: evaluation.get(key) for key in keys.split()}
    merged, unmerged = row["examples_per_second_merged"], row["examples_per_second_unmerged"]
    speedup = merged / unmerged if merged and unmerged else None
    return {**row, "task": task, "speedup": speedup, "verdict": merge_verdict(evaluation)}


def lost_run(row: ResultRow) -> dict[str, Any]:
    """Return the fields of a failed or diverged run that the page shows."""
    error = row.get("error") or "No message was recorded."
    return {**{key: row[key] for key in ("task", "method", "lr", "seed", "status")}, "error": str(error).strip()}
