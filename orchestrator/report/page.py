"""One self-contained HTML page for a sweep: what came out, how sure it is, what is missing, how to make it again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from orchestrator import wording
from orchestrator.report.figures.curves import CurvePlot, draw_curves
from orchestrator.report.gains import seconds_a_point
from orchestrator.report.loss_curves import chosen, curve_band, losses
from orchestrator.report.paper import paper_claims
from orchestrator.report.sections import _champion, _lost, _macro_forest, _section
from orchestrator.statistics import quotable as resampled
from orchestrator.statistics.thresholds import LEVELS
from orchestrator.store.rows import DONE
from orchestrator.summary.schema import ResultRow, Summary

TEMPLATE = "page.html.j2"
FILTERS = ("percent", "points", "number", "between", "between_points", "p_value", "rate", "count", "listed")


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
    rows: Sequence[ResultRow],
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


def _curves(summary: Summary, rows: Sequence[ResultRow], folder: Path) -> dict[str, CurvePlot | None]:
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
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({name: getattr(wording, name) for name in FILTERS})
    environment.filters["seconds_a_point"] = seconds_a_point
    return environment


def _provenance(sweep: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("name", "created", "commit", "command")
    return {**{key: sweep.get(key) for key in keys}, "versions": dict(sweep.get("versions") or {})}
