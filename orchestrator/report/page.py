"""One self-contained HTML page for a sweep: its results, their certainty, missing runs, and how to repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment

from orchestrator.files import write_bytes
from orchestrator.report.environment import TEMPLATES, environment
from orchestrator.report.figures.curves import CurvePlot, draw_curves
from orchestrator.report.gains import seconds_a_point
from orchestrator.report.loss_curves import curve_band, losses
from orchestrator.report.page_sections import average_forest, champion_row, lost_run, task_section
from orchestrator.report.paper import paper_claims
from orchestrator.report.verdicts import verdict_legend, verdict_note
from orchestrator.statistics import thresholds
from orchestrator.store.rows import DONE
from orchestrator.summary.schema import ResultRow, Summary
from orchestrator.summary.table import ResultTable

TEMPLATE = "page.html.j2"


def write_report(
    path: Path,
    sweep: dict[str, Any],
    summary: dict[str, Any],
    rows: list[dict[str, Any]],
    champions: dict[str, dict[str, Any]],
) -> None:
    """Write the page to ``path``, whole or not at all.

    ``sweep`` may hold name, command, versions, commit, created and chance (by task). ``summary`` is the content of
    ``summary.json`` for ``rows``. ``champions`` holds each task's ``evaluation.json``. The page leaves out whatever is
    missing. Learning curves are read from the run folders beside ``path``.
    """
    content = cast("Summary", summary)
    curves = _curves(content, ResultTable(rows), path.parent)
    page = render_report(sweep, content, rows, champions, curves)
    write_bytes(path, page.encode())


def render_report(
    sweep: Mapping[str, Any],
    summary: Summary,
    rows: Sequence[ResultRow],
    champions: Mapping[str, Mapping[str, Any]],
    curves: Mapping[str, CurvePlot | None],
) -> str:
    """Return the page as text; ``curves`` and ``champions`` are by task, and the rest is as in `write_report`."""
    chance, table = sweep.get("chance") or {}, ResultTable(rows)
    broken = {
        task: evaluation.get("why")
        for task, evaluation in sorted(champions.items())
        if evaluation.get("status") == "broken"
    }
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            sweep=_provenance(sweep),
            summary=summary,
            macro=average_forest(summary),
            curves=curves,
            paper=paper_claims(summary, rows, champions),
            rows=rows,
            sections=[
                task_section(task, content, table, chance.get(task), summary["reference"])
                for task, content in summary["tasks"].items()
            ],
            champions=[champion_row(task, champions[task]) for task in sorted(champions) if task not in broken],
            broken=broken,
            lost=[lost_run(row) for row in rows if row["status"] not in DONE],
            runs={"planned": len(rows), "committed": sum(row["status"] == "committed" for row in rows)},
            seeds=sorted({row["seed"] for row in rows}),
            quoted=thresholds,
        )
    )


def _curves(summary: Summary, table: ResultTable, folder: Path) -> dict[str, CurvePlot | None]:
    """Draw each task's training losses at the chosen rates, from the steps in the run folders."""
    return {
        task: draw_curves(
            f"Training loss on {task}, by step",
            {
                name: curve_band(losses(table.rows(task, name, method["lr"], "committed"), folder))
                for name, method in content["methods"].items()
            },
        )
        for task, content in summary["tasks"].items()
    }


def _environment() -> Environment:
    made = environment(TEMPLATES)
    made.filters["seconds_a_point"] = seconds_a_point
    made.filters |= {"verdict_note": verdict_note, "verdict_legend": verdict_legend}
    return made


def _provenance(sweep: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("name", "created", "commit", "command")
    return {**{key: sweep.get(key) for key in keys}, "versions": dict(sweep.get("versions") or {})}
