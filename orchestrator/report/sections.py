"""The section of one task in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from orchestrator import wording
from orchestrator.report.figures.best_of import draw_budgets
from orchestrator.report.figures.forest import Estimate, Forest, draw
from orchestrator.report.figures.panels import PanelPlot
from orchestrator.report.figures.rates import draw_rates
from orchestrator.report.gains import merge_verdict
from orchestrator.summary.schema import Difference, RateSummary, ResultRow, Summary, TaskSummary, family_of


class TaskSection(NamedTuple):
    """What the page shows of one task."""

    name: str
    summary: TaskSummary
    accuracies: Forest | None
    differences: Forest | None
    rates: list[float]
    sensitivity: dict[str, list[RateSummary | None]]
    rate_plot: PanelPlot | None
    budget_plot: PanelPlot | None


def _section(
    task: str, summary: TaskSummary, rows: Sequence[ResultRow], chance: float | None, reference: str | None
) -> TaskSection:
    rates = sorted({found["lr"] for method in summary["methods"].values() for found in method["by_lr"].values()})
    return TaskSection(
        name=task,
        summary=summary,
        accuracies=_accuracy_forest(task, summary, rows, chance, reference),
        differences=_difference_forest(task, summary["differences"]),
        rates=rates,
        sensitivity={
            name: [method["by_lr"].get(repr(lr)) for lr in rates] for name, method in summary["methods"].items()
        },
        rate_plot=draw_rates(task, summary["methods"]),
        budget_plot=draw_budgets(task, summary["families"], _places(list(summary["methods"]), rows)),
    )


def _places(methods: Sequence[str], rows: Sequence[ResultRow]) -> dict[str, int]:
    """Return for each family of methods the place of the first of them."""
    families = {str(row["method"]): family_of(row) for row in rows}
    return {families.get(label, label): place for place, label in reversed(list(enumerate(methods)))}


def _accuracy_forest(
    task: str, summary: TaskSummary, rows: Sequence[ResultRow], chance: float | None, reference: str | None
) -> Forest | None:
    estimates = []
    for name, found in summary["methods"].items():
        if found["mean"] is None:
            continue
        seeds = [
            float(row["accuracy"])
            for row in rows
            if (row["task"], row["method"], row["lr"], row["status"]) == (task, name, found["lr"], "committed")
        ]
        note = _note(wording.percent(found["mean"]), wording.between(found["interval"]))
        estimates.append(Estimate(name, found["mean"], found["interval"], seeds, note, strong=name == reference))
    if not estimates:
        return None
    bases = [found["base_accuracy"] for found in summary["methods"].values() if found["base_accuracy"] is not None]
    references = [(f"untrained base {wording.percent(base)}", base) for base in bases[:1]]
    references += [(f"chance {wording.percent(chance)}", chance)] if chance is not None else []
    return draw(f"Test accuracy on {task}, in percent", estimates, references, (0.0, 1.0))


def _difference_forest(where: str, differences: Sequence[Difference]) -> Forest | None:
    """Draw the reference's differences to every other method: they come first and share its name."""
    estimates = [
        Estimate(
            f"against {found['second']}",
            found["mean"],
            found["interval"],
            found["values"],
            _note(wording.points(found["mean"]), wording.between_points(found["interval"])),
            strong=found["verdict"] in ("ahead", "behind"),
        )
        for found in differences
        if found["mean"] is not None and found["first"] == differences[0]["first"]
    ]
    if not estimates:
        return None
    title = f"{differences[0]['first']} against each other method on {where}, paired by seed, in points"
    return draw(title, estimates, [("no difference", 0.0)], (-1.0, 1.0))


def _macro_forest(summary: Summary) -> Forest | None:
    estimates = [
        Estimate(
            name,
            found["mean"],
            found["interval"],
            [],
            _note(wording.percent(found["mean"]), wording.between(found["interval"])),
            strong=name == summary["reference"],
        )
        for name, found in summary["macro"]["methods"].items()
        if found["mean"] is not None
    ]
    if len(summary["tasks"]) < 2 or not estimates:
        return None
    return draw("Average accuracy over all tasks, in percent", estimates, [], (0.0, 1.0))


def _note(mean: str, interval: str) -> str:
    return mean if interval == wording.NOTHING else f"{mean} ({interval})"


def _champion(task: str, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    keys = (
        "method lr seed accuracy_merged accuracy_unmerged gap_points item_flips largest_logit_difference "
        "examples_per_second_merged examples_per_second_unmerged path items base_accuracy"
    )
    found = {key: evaluation.get(key) for key in keys.split()}
    merged, unmerged = found["examples_per_second_merged"], found["examples_per_second_unmerged"]
    speedup = merged / unmerged if merged and unmerged else None
    return {**found, "task": task, "speedup": speedup, "verdict": merge_verdict(evaluation)}


def _lost(row: ResultRow) -> dict[str, Any]:
    error = row.get("error") or "No message was recorded."
    return {**{key: row[key] for key in ("task", "method", "lr", "seed", "status")}, "error": str(error).strip()}
