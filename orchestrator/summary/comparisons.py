"""Which of two methods is ahead: differences paired by seed and by item, corrected for their number."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestrator.statistics.bootstrap import item_interval
from orchestrator.statistics.crossed import Cells, are_crossed, cells_of, mean_interval, mean_p
from orchestrator.statistics.intervals import DIFFERENCES, clipped, mean_difference, spread
from orchestrator.statistics.power import seeds_needed, smallest_detectable_difference
from orchestrator.statistics.quotable import mean_bootstrap
from orchestrator.statistics.significance import holm, mcnemar_p
from orchestrator.statistics.thresholds import ONE_POINT, SIGNIFICANT
from orchestrator.summary.schema import (
    Difference,
    Discordance,
    Predictions,
    Ratio,
    SeedDiscordance,
    Verdict,
    WhyUnknown,
)


class Finished(NamedTuple):
    """The figures of a committed run that comparisons use."""

    run_key: str
    accuracy: float
    volatility: float | None = None


class Marks(NamedTuple):
    """A run's right and wrong answers, by item index in ascending order."""

    items: NDArray[Any]
    right: NDArray[np.bool_]


def difference(
    names: tuple[str, str],
    first: Mapping[int, float],
    second: Mapping[int, float],
    cells: Cells | None = None,
    *,
    stopped: bool = False,
) -> Difference:
    """Return the difference of two methods' accuracies (shares, by seed), before any correction.

    ``stopped`` says that rungs stopped seeds of either method; then the caller gives no accuracies of that method.
    """
    seeds = sorted(first.keys() & second.keys())
    drawn = cells_of(seeds, cells)
    values = [first[seed] - second[seed] for seed in seeds]
    sd, alone = spread(values), not are_crossed(drawn)
    p = mean_p(values, drawn)
    return {
        "first": names[0],
        "second": names[1],
        "n": len(seeds),
        "seeds": seeds,
        "values": values,
        "unpaired": sorted(first.keys() ^ second.keys()),
        "mean": mean_difference(values) if values else None,
        "sd": sd,
        "interval": clipped(mean_interval(values, drawn), DIFFERENCES),
        "bootstrap": mean_bootstrap(values, drawn),
        "p": p,
        "p_corrected": None,
        "detectable": smallest_detectable_difference(len(values), sd) if sd and alone else None,
        "seeds_for_one_point": seeds_needed(ONE_POINT, sd) if sd and alone else None,
        "pooled": None,
        "by_item": None,
        "by_seed": [],
        "volatility_ratio": None,
        "verdict": "unknown",
        "why_unknown": _why_unknown(len(seeds), p, stopped),
    }


def _why_unknown(shared: int, p: float | None, stopped: bool) -> WhyUnknown | None:
    """Return why two methods with these shared seeds have no p; None if they have a p."""
    if p is not None:
        return None
    if stopped:
        return "stopped seeds"
    return "few seeds" if shared < 2 else "crossed seeds"


def with_items(
    pair: Difference, first: Mapping[int, Finished], second: Mapping[int, Finished], marks: Mapping[str, Marks]
) -> Difference:
    """Return the difference with its item-level counts, over the paired seeds that have predictions of both runs."""
    runs = {seed: (first[seed].run_key, second[seed].run_key) for seed in pair["seeds"]}
    pairs = {seed: _aligned(a, b, marks) for seed, (a, b) in runs.items() if a in marks and b in marks}
    if not pairs:
        return pair
    index, lead = (np.concatenate(columns) for columns in zip(*pairs.values(), strict=True))
    _, item = np.unique(index, return_inverse=True)
    net = np.bincount(item, weights=lead)
    by_seed = [_seed_discordance(seed, lead) for seed, (_, lead) in pairs.items()]
    return {**pair, "pooled": _discordance(lead), "by_item": _discordance(net), "by_seed": by_seed}


def with_volatility(
    pair: Difference, first: Mapping[int, Finished], second: Mapping[int, Finished], cells: Cells | None = None
) -> Difference:
    """Return the difference with the ratio of the training volatilities: paired by seed, Student's t on logarithms."""
    pairs = {seed: (first[seed].volatility, second[seed].volatility) for seed in pair["seeds"]}
    by_seed = {seed: math.log(a / b) for seed, (a, b) in pairs.items() if a and b}
    if not by_seed:
        return pair
    logs = list(by_seed.values())
    interval = mean_interval(logs, cells_of(list(by_seed), cells))
    ratio: Ratio = {
        "n": len(logs),
        "ratio": math.exp(statistics.fmean(logs)),
        "interval": None if interval is None else [math.exp(end) for end in interval],
    }
    return {**pair, "volatility_ratio": ratio}


def mark(predictions: Predictions, keys: Iterable[str]) -> dict[str, Marks]:
    """Return the right and wrong answers of these runs: an item is right where ``predicted == answer``.

    The predictions of one run at a time are in memory; what is kept are 9 bytes per item.
    """
    marks = {}
    for run_key in keys:
        ordered = sorted(predictions[run_key], key=lambda item: item["index"])
        indices = np.array([item["index"] for item in ordered])
        marks[run_key] = Marks(indices, np.array([item["predicted"] == item["answer"] for item in ordered], dtype=bool))
    return marks


def corrected(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences with Holm-corrected p-values over all of them as one family, and their verdicts.

    The verdict rests on the paired t test over seeds, because only that test asks whether another seed would agree. The
    seed-level, the pooled and the item-level p-values are each a family of their own, as are the p-values of single
    seeds.
    """
    seed_level = holm([pair["p"] for pair in differences])
    pooled = holm([pair["pooled"]["p"] if pair["pooled"] else None for pair in differences])
    by_item = holm([pair["by_item"]["p"] if pair["by_item"] else None for pair in differences])
    single = iter(holm([of_seed["p"] for pair in differences for of_seed in pair["by_seed"]]))
    return [
        {
            **pair,
            "p_corrected": p,
            "pooled": _with_p(pair["pooled"], p_pooled),
            "by_item": _with_p(pair["by_item"], p_item),
            "by_seed": [{**of_seed, "p_corrected": next(single)} for of_seed in pair["by_seed"]],
            "verdict": verdict(pair["mean"], p),
        }
        for pair, p, p_pooled, p_item in zip(differences, seed_level, pooled, by_item, strict=True)
    ]


def verdict(mean: float | None, p_corrected: float | None) -> Verdict:
    """Return where the first method stands to the second.

    "ahead" or "behind" if the corrected p is below 5 %, by the sign of the mean difference. "tie" if it is not: no
    difference was shown, which does not show that there is none. "unknown" if the two methods have no p.
    """
    if mean is None or p_corrected is None:
        return "unknown"
    if p_corrected >= SIGNIFICANT or mean == 0:
        return "tie"
    return "ahead" if mean > 0 else "behind"


def _aligned(first: str, second: str, marks: Mapping[str, Marks]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the item indices and, for each, 1 (only the first is right), -1 (only the second) or 0."""
    a, b = marks[first], marks[second]
    if not np.array_equal(a.items, b.items):
        raise ValueError(
            f"Runs {first} and {second} answered different items ({len(a.items)} and {len(b.items)}), so they "
            "cannot be paired. Evaluate both on the same items, or leave their predictions out."
        )
    return a.items, a.right.astype(np.int64) - b.right.astype(np.int64)


def _discordance(lead: NDArray[Any]) -> Discordance:
    wins, losses = int((lead > 0).sum()), int((lead < 0).sum())
    return {"wins": wins, "losses": losses, "p": mcnemar_p(wins, losses), "p_corrected": None}


def _seed_discordance(seed: int, lead: NDArray[Any]) -> SeedDiscordance:
    """Return how the two runs of one seed differ on the same items."""
    counts = _discordance(lead)
    interval = item_interval(counts["wins"], counts["losses"], len(lead))
    return {"seed": seed, "items": len(lead), "interval": interval, **counts}


def _with_p(counts: Discordance | None, p_corrected: float | None) -> Discordance | None:
    return None if counts is None else {**counts, "p_corrected": p_corrected}
