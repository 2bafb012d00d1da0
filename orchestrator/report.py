"""One self-contained HTML page for a sweep: what came out, how sure it is, what is missing, how to make it again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from orchestrator import resampled, wording
from orchestrator.budget_plot import draw_budgets
from orchestrator.curve_plot import CurvePlot, draw_curves
from orchestrator.curves import chosen, curve_band, losses
from orchestrator.forest import Estimate, Forest, draw
from orchestrator.gain import merge_verdict, seconds_a_point
from orchestrator.panels import PanelPlot
from orchestrator.paper import paper_claims
from orchestrator.rate_plot import draw_rates
from orchestrator.results import DONE
from orchestrator.seeds import LEVELS
from orchestrator.summary import Difference, RateSummary, Row, Summary, TaskSummary, family_of

TEMPLATE = "report.html.j2"
FILTERS = ("percent", "points", "number", "between", "between_points", "p_value", "rate", "count", "listed")


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


def write_report(
    path: Path,
    sweep: dict[str, Any],
    summary: dict[str, Any],
    rows: list[dict[str, Any]],
    champions: dict[str, dict[str, Any]],
) -> None:
    """Write the page to ``path``, whole or not at all.

    ``sweep`` may hold name, command, versions, commit, created and chance (by task); ``summary`` is what ``summarise``
    returned for ``rows``; ``champions`` holds each task's ``evaluation.json``. Whatever is missing is left out.
    """
    found = cast("Summary", summary)
    page = render_report(sweep, found, rows, champions, _curves(found, rows, path.parent))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(page, encoding="utf-8")
    os.replace(unfinished, path)


def render_report(
    sweep: Mapping[str, Any],
    summary: Summary,
    rows: Sequence[Row],
    champions: Mapping[str, Mapping[str, Any]],
    curves: Mapping[str, CurvePlot | None],
) -> str:
    """Return the page as text; ``curves`` by task."""
    chance = sweep.get("chance") or {}
    broken = {task: one.get("why") for task, one in sorted(champions.items()) if one.get("status") == "broken"}
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            sweep=_provenance(sweep),
            summary=summary,
            macro=_macro_forest(summary),
            curves=curves,
            paper=paper_claims(summary, rows, champions),
            rows=rows,
            sections=[
                _section(task, found, rows, chance.get(task), summary["reference"])
                for task, found in summary["tasks"].items()
            ],
            champions=[_champion(task, champions[task]) for task in sorted(champions) if task not in broken],
            broken=broken,
            lost=[_lost(row) for row in rows if row["status"] not in DONE],
            runs={"planned": len(rows), "committed": sum(row["status"] == "committed" for row in rows)},
            seeds=sorted({row["seed"] for row in rows}),
            quoted=resampled,
            least_on_axis=LEVELS,
        )
    )


def _curves(summary: Summary, rows: Sequence[Row], folder: Path) -> dict[str, CurvePlot | None]:
    """Draw each task's training losses at the chosen rates, from the steps in the run folders."""
    return {
        task: draw_curves(
            f"Training loss on {task}, by step",
            {name: curve_band(losses(chosen(rows, task, name, one), folder)) for name, one in found["methods"].items()},
        )
        for task, found in summary["tasks"].items()
    }


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({name: getattr(wording, name) for name in FILTERS})
    environment.filters["seconds_a_point"] = seconds_a_point
    return environment


def _section(
    task: str, summary: TaskSummary, rows: Sequence[Row], chance: float | None, reference: str | None
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


def _places(methods: Sequence[str], rows: Sequence[Row]) -> dict[str, int]:
    """Return for each family of methods the place of the first of them."""
    families = {str(row["method"]): family_of(row) for row in rows}
    return {families.get(label, label): place for place, label in reversed(list(enumerate(methods)))}


def _accuracy_forest(
    task: str, summary: TaskSummary, rows: Sequence[Row], chance: float | None, reference: str | None
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


def _lost(row: Row) -> dict[str, Any]:
    error = row.get("error") or "No message was recorded."
    return {**{key: row[key] for key in ("task", "method", "lr", "seed", "status")}, "error": str(error).strip()}


def _provenance(sweep: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("name", "created", "commit", "command")
    return {**{key: sweep.get(key) for key in keys}, "versions": dict(sweep.get("versions") or {})}
