"""Expected best of n settings as a figure: what tuning on validation reaches as more settings are tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from orchestrator.csv_link import csv_link
from orchestrator.panels import PanelPlot, Series, Spot, counted, draw_panels
from orchestrator.summary import BestOf
from orchestrator.wording import count, number, percent


def draw_budgets(task: str, families: Mapping[str, Sequence[BestOf]]) -> PanelPlot | None:
    """Return the figure of a task; None where no method has two settings that finished a run."""
    most = max(map(len, families.values()), default=0)
    if most < 2:
        return None
    return draw_panels(
        f"Expected accuracy on {task}, in percent, of the best of n settings",
        counted("n, settings tried", most),
        [_series(*each) for each in families.items() if each[1]],
        csv_link(
            ("method", "n", "runs", "train_seconds", "expected_validation", "expected_test"),
            (
                (name, one["n"], one["runs"], one["train_seconds"], one["validation"], one["test"])
                for name, curve in families.items()
                for one in curve
            ),
        ),
    )


def _series(name: str, curve: Sequence[BestOf]) -> Series:
    last = curve[-1]
    cost = [f"{number(last['runs'], 0)} runs"]
    cost += [f"{number(last['train_seconds'], 0)} s"] if last["train_seconds"] is not None else []
    note = f"{count(last['n'], 'setting')}: {', '.join(cost)}"
    spots = [Spot(one["n"], (one["validation"], one["test"])) for one in curve]
    return Series(name, note, (_words(name, curve, "validation"), _words(name, curve, "test")), spots)


def _words(name: str, curve: Sequence[BestOf], figure: Literal["validation", "test"]) -> str:
    ends = [f"{percent(one[figure])} with {count(one['n'], 'setting')}" for one in (curve[0], curve[-1])]
    return f"{name}: {', '.join(dict.fromkeys(ends))}."
