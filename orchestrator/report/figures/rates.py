"""Sensitivity to the learning rate as a figure: a line per method over its rates, with the runs lost at each rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from orchestrator.report.figures.axis import FEW, in_order, logarithmic
from orchestrator.report.figures.csv_link import csv_link
from orchestrator.report.figures.panels import PanelPlot, Series, Spot, draw_panels
from orchestrator.summary.schema import MethodSummary, RateSummary
from orchestrator.wording import count, listed, percent, rate

MOST = 12
"""The most lines in a figure: more lines cannot be told apart by eye. The CSV has all methods."""
Figure = Literal["validation_mean", "mean"]
DIVERGED, FAILED, STOPPED = "\N{MULTIPLICATION SIGN}", "!", "\N{WHITE SQUARE}"
"""Signs of lost runs, drawn at their rate; a sign for several runs has their number beside it."""
MEANINGS = {DIVERGED: "diverged", FAILED: "failed", STOPPED: "stopped at a rung"}
COLUMNS = (
    *("method", "lr", "chosen", "validation_mean", "validation_low", "validation_high"),
    *("test_mean", "test_low", "test_high", "seeds", "diverged", "failed", "dropped", "stopped"),
)


def draw_rates(task: str, methods: Mapping[str, MethodSummary]) -> PanelPlot | None:
    """Return the figure of a task; None if no method has two rates, or no run finished."""
    shown = best_methods(methods, MOST)
    rates = [setting["lr"] for method in shown.values() for setting in method["by_lr"].values()]
    if all(len(method["by_lr"]) < 2 for method in methods.values()):
        return None
    title = f"Accuracy on {task}, in percent, by learning rate"
    if len(shown) < len(methods):
        title += f": the best {len(shown)} of {len(methods)} methods"
    name = "learning rate"
    axis = in_order(f"{name}, in order", rates, rate) if len(set(rates)) <= FEW else logarithmic(name, rates, rate)
    style_of = {label: style for style, label in enumerate(methods)}
    series = [_series(label, style_of[label], method) for label, method in shown.items()]
    return draw_panels(title, _help(series), axis, series, _csv(methods))


def best_methods(methods: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Return the methods to draw, in their own order; of more than ``most``, the methods with the best means."""
    if len(methods) <= most:
        return dict(methods)
    ranked = sorted(methods, key=lambda name: -(methods[name]["mean"] or 0.0))[:most]
    return {name: one for name, one in methods.items() if name in ranked}


def _help(series: Sequence[Series]) -> str:
    """Return how to read the figure; only the signs and markers in the figure are explained."""
    spots = [spot for one in series for spot in one.spots]
    words = ["The ring is the rate that validation chose; bars are 95 % intervals over the seeds, none for one."]
    lost = meanings([spot.lost for spot in spots])
    if lost:
        words.append(f"Below a panel, at their rate: {lost}; they are in no mean.")
    if any(spot.hollow for spot in spots):
        words.append("A hollow marker rests on fewer seeds: a search left the others untrained, or stopped them.")
    return " ".join(words)


def _series(label: str, style: int, method: MethodSummary) -> Series:
    tried = sorted(method["by_lr"].values(), key=lambda one: one["lr"])
    return Series(
        label,
        style,
        "; ".join(f"{lost} at {rate(one['lr'])}" for one in tried if (lost := _lost_words(one))),
        (_words(label, method, tried, "validation_mean"), _words(label, method, tried, "mean")),
        [
            Spot(
                one["lr"],
                (one["validation_mean"], one["mean"]),
                (one.get("validation_interval"), one["interval"]),  # a summary of before has none of validation
                hollow=_left(one) > 0,
                ringed=one["lr"] == method["lr"],
                lost=signs_of(one),
            )
            for one in tried
        ],
    )


def _left(one: RateSummary) -> int:
    """Return how many seeds a search did not train to their end."""
    return one["dropped"] + one.get("stopped", 0)


def meanings(signs: Sequence[str]) -> str:
    """Return the meanings of the signs in the texts ``signs``: ``! failed, ...``."""
    return ", ".join(f"{sign} {what}" for sign, what in MEANINGS.items() if any(sign in one for one in signs))


def signs_of(one: RateSummary) -> str:
    """Return the signs of the runs lost at a rate, each with the number of runs if it is more than one."""
    lost = [(one["diverged"], DIVERGED), (one["failed"], FAILED), (one.get("stopped", 0), STOPPED)]
    return " ".join(f"{sign}{amount if amount > 1 else ''}" for amount, sign in lost if amount)


def _lost_words(one: RateSummary) -> str:
    lost = [(one["diverged"], "diverged"), (one["failed"], "failed"), (one["dropped"], "not trained")]
    lost.append((one.get("stopped", 0), "stopped"))  # a summary of before rungs has no count
    return listed([f"{amount} {word}" for amount, word in lost if amount])


def _words(label: str, method: MethodSummary, tried: Sequence[RateSummary], figure: Figure) -> str:
    """Return a panel in words for one method: the chosen rate, then the range over all rates, then lost runs."""
    known = [value for one in tried if (value := one[figure]) is not None]
    if not known:
        return f"{label}: no run finished."
    at = f"{percent(method[figure])} at {rate(method['lr'])}"
    spans = f", from {percent(min(known))} to {percent(max(known))} over {count(len(known), 'rate')}"
    lost = "".join(f"; {words} at {rate(one['lr'])}" for one in tried if (words := _lost_words(one)))
    return f"{label}: {at}{spans}{lost}."


def _csv(methods: Mapping[str, MethodSummary]) -> str:
    return csv_link(
        COLUMNS,
        (
            (
                *(label, one["lr"], int(one["lr"] == method["lr"])),
                *(one["validation_mean"], *(one.get("validation_interval") or (None, None))),
                *(one["mean"], *(one["interval"] or (None, None))),
                *(one["n"], one["diverged"], one["failed"], one["dropped"], one.get("stopped", 0)),
            )
            for label, method in methods.items()
            for one in method["by_lr"].values()
        ),
    )
