"""Expected best of n settings as a figure: the accuracy that tuning on validation reaches with more settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from orchestrator.report.figures.axis import counted
from orchestrator.report.figures.csv_link import csv_link
from orchestrator.report.figures.panels import PanelPlot, Series, Spot, draw_panels
from orchestrator.summary.schema import BestOf
from orchestrator.wording import count, number, percent

HELP = (
    "Compare methods at the same n: having tried more settings gains nothing there. Validation is what the best was "
    "chosen by, so it flatters; test is what that choice then reaches. Settings that lost runs are chosen last, so a "
    "line may fall."
)


def draw_best_of(task: str, families: Mapping[str, Sequence[BestOf]], style_of: Mapping[str, int]) -> PanelPlot | None:
    """Return the figure of a task; None if no family of methods has two settings that finished a run.

    ``style_of`` has each family's style number, as in `panels.Series`.
    """
    most = max(map(len, families.values()), default=0)
    if most < 2:
        return None
    return draw_panels(
        f"Expected accuracy on {task}, in percent, of the best of n settings",
        HELP,
        counted("n, settings tried", most),
        [_series(name, style_of[name], curve) for name, curve in families.items() if curve],
        csv_link(
            ("method", "n", "runs", "train_seconds", "expected_validation", "expected_test"),
            (
                (name, best["n"], best["runs"], best["train_seconds"], best["validation"], best["test"])
                for name, curve in families.items()
                for best in curve
            ),
        ),
    )


def _series(name: str, style: int, curve: Sequence[BestOf]) -> Series:
    last = curve[-1]
    cost = [f"{number(last['runs'], 0)} runs"]
    cost += [f"{number(last['train_seconds'], 0)} s"] if last["train_seconds"] is not None else []
    note = f"{count(last['n'], 'setting')}: {', '.join(cost)}"
    spots = [Spot(best["n"], (best["validation"], best["test"])) for best in curve]
    return Series(name, style, note, (_words(name, curve, "validation"), _words(name, curve, "test")), spots)


def _words(name: str, curve: Sequence[BestOf], figure: Literal["validation", "test"]) -> str:
    ends = [f"{percent(best[figure])} with {count(best['n'], 'setting')}" for best in (curve[0], curve[-1])]
    return f"{name}: {', '.join(dict.fromkeys(ends))}."
