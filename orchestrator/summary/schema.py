"""The content of ``summary.json``: the name and the meaning of every figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

ResultRow = Mapping[str, Any]
"""A line of ``results.jsonl``."""
Predictions = Mapping[str, Sequence[Mapping[str, Any]]]
"""By run key, the lines of ``predictions/<run_key>.jsonl``. A mapping may read the lines of a run on request."""
Verdict = Literal["ahead", "behind", "tie", "unknown"]
"""Where the first of two methods stands to the second, by the corrected p (`comparisons.verdict`)."""
WhyUnknown = Literal["few seeds", "crossed seeds", "stopped seeds"]
"""Why two methods have no p: they share fewer than two seeds; their crossed seeds are too few on an axis; or rungs
stopped seeds of either method."""


def family_of(row: ResultRow) -> str:
    """Return the name of a row's method, which settings under other labels share."""
    return str((row.get("settings") or {}).get("name", row["method"]))


class RateSummary(TypedDict):
    """One task, method and learning rate, over its seeds. Means are over the ``n`` committed runs alone.

    ``dropped`` are runs that a search has decided not to train, ``stopped`` are runs that were beaten at a rung. If any
    run was stopped, the runs that are left were selected: they have no spread and no interval, and are not compared.
    Accuracies are shares. Intervals are 95 %: ``interval`` and ``validation_interval`` are Student's (for crossed seeds
    with their own error), clipped to [0, 1]; ``bootstrap`` is the BCa bootstrap's, where it can be quoted (see
    `quotable`). ``volatility`` is the mean over runs of the standard deviation of the de-trended step loss,
    ``loss_change`` the mean over runs of the mean absolute change of the step loss.
    """

    lr: float
    n: int
    mean: float | None
    sd: float | None
    interval: list[float] | None
    bootstrap: list[float] | None
    worst: float | None
    worst_seed: int | None
    diverged: int
    diverged_seeds: list[int]
    failed: int
    failed_seeds: list[int]
    dropped: int
    stopped: int
    stopped_seeds: list[int]
    volatility: float | None
    volatility_interval: list[float] | None
    loss_change: float | None
    loss_change_interval: list[float] | None
    validation_mean: float | None
    validation_interval: list[float] | None
    train_seconds: float | None
    trainable_parameters: int | None


class BestOf(TypedDict):
    """The expected accuracies of the best of ``n`` settings, chosen on validation, and the cost of n settings."""

    n: int
    runs: float
    train_seconds: float | None
    validation: float | None
    test: float | None


class Source(TypedDict):
    """A source's part of the variance of one run's accuracy; ``variance`` is ``estimate``, or 0 if that is negative."""

    source: str
    estimate: float
    variance: float
    sd: float
    truncated: bool


class Sources(TypedDict):
    """The variance of one run's accuracy by its source, from ``runs`` runs; ``levels`` counts each axis' seeds."""

    runs: int
    items: int | None
    levels: dict[str, int]
    sources: list[Source]
    notes: list[str]


class MethodSummary(RateSummary):
    """One task and method at the learning rate chosen on validation, and every rate that was tried.

    ``sources`` is of the runs at the chosen rate; ``best_of`` is over the rates.
    """

    base_accuracy: float | None
    by_lr: dict[str, RateSummary]
    sources: Sources | None
    best_of: list[BestOf]


class Discordance(TypedDict):
    """Where exactly one of two methods was right: counts for the first and the second, and McNemar's exact p."""

    wins: int
    losses: int
    p: float
    p_corrected: float | None


class SeedDiscordance(TypedDict):
    """The two runs of one seed on ``items`` items: McNemar's exact p, and the bootstrap interval of the difference."""

    seed: int
    items: int
    wins: int
    losses: int
    interval: list[float]
    p: float
    p_corrected: float | None


class Ratio(TypedDict):
    """The geometric mean over ``n`` paired seeds of a figure of the first method over the second's."""

    n: int
    ratio: float
    interval: list[float] | None


class Difference(TypedDict):
    """Accuracy of ``first`` minus ``second``, paired by seed.

    ``values`` belong to ``seeds``; ``unpaired`` are the seeds that only one of the two finished. ``interval`` is
    Student's, ``bootstrap`` the BCa bootstrap's. ``detectable`` is the true difference that this number of seeds with
    this spread detects with power 0.8, ``seeds_for_one_point`` how many seeds would detect 1 point. ``pooled`` counts
    every (seed, item), ``by_item`` every item once, ``by_seed`` the items of each seed. Over crossed seeds ``interval``
    has the error of crossed runs, and ``detectable`` and ``seeds_for_one_point`` are None; ``bootstrap`` as in
    `RateSummary`.
    If all ``values`` are equal, ``sd`` is 0, and intervals, ``detectable`` and ``seeds_for_one_point`` are None.
    ``why_unknown`` is None unless the verdict is "unknown".
    """

    first: str
    second: str
    n: int
    seeds: list[int]
    values: list[float]
    unpaired: list[int]
    mean: float | None
    sd: float | None
    interval: list[float] | None
    bootstrap: list[float] | None
    p: float | None
    p_corrected: float | None
    detectable: float | None
    seeds_for_one_point: int | None
    pooled: Discordance | None
    by_item: Discordance | None
    by_seed: list[SeedDiscordance]
    volatility_ratio: Ratio | None
    verdict: Verdict
    why_unknown: WhyUnknown | None


class TieGroup(TypedDict):
    """Methods that no corrected comparison separates, best mean first, and where they stand to the reference."""

    leader: str
    methods: list[str]
    standing: Literal["ahead", "tie", "behind"]


class TaskSummary(TypedDict):
    """One task: its methods, and the reference's difference from each other method.

    ``families`` has the best-of-n curve over all settings (labels and rates) of the methods of one name.
    """

    methods: dict[str, MethodSummary]
    differences: list[Difference]
    tie_groups: list[TieGroup]
    families: dict[str, list[BestOf]]


class MacroMethod(TypedDict):
    """A method over all tasks.

    ``mean`` is the mean of the tasks' means. It is None if a task has no finished run, or has lost seeds to rungs at
    the chosen rate; such a task is not counted in ``tasks``. ``bootstrap`` is the interval of ``mean`` with seeds drawn
    again within tasks, ``iqm`` the interquartile mean of all runs with an interval of the same kind. Both intervals are
    None where they cannot be quoted (`quotable`). ``n``, ``seed_mean``, ``sd``, ``interval`` and ``worst`` are over the
    seeds that finished on all tasks: each seed's mean over the tasks.
    """

    tasks: int
    mean: float | None
    bootstrap: list[float] | None
    iqm: float | None
    iqm_interval: list[float] | None
    n: int
    seed_mean: float | None
    sd: float | None
    interval: list[float] | None
    worst: float | None
    worst_seed: int | None
    diverged: int
    failed: int
    stopped: int


class Improvement(TypedDict):
    """How likely a run of ``first`` beats a run of ``second`` on a random task; equal accuracies count half."""

    first: str
    second: str
    probability: float
    interval: list[float] | None


class Macro(TypedDict):
    """The averages over tasks, and how the reference compares with each other method in them."""

    methods: dict[str, MacroMethod]
    differences: list[Difference]
    improvement: list[Improvement]
    tie_groups: list[TieGroup]


class Figures(TypedDict):
    """Every number of the file, by task and over all tasks."""

    reference: str | None
    tasks: dict[str, TaskSummary]
    macro: Macro


class Sentences(TypedDict):
    """The sentences that the figures support."""

    headline: str
    claims: list[str]


class Summary(Figures, Sentences):
    """The whole content of the file."""


LOST = ("diverged", "failed", "stopped")
