"""What ``summary.json`` holds: the name and the meaning of every figure in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

Row = Mapping[str, Any]
"""A line of ``results.jsonl``."""
Predictions = Mapping[str, Sequence[Mapping[str, Any]]]
"""By run key, the lines of ``predictions/<run_key>.jsonl``."""
Verdict = Literal["ahead", "behind", "tie", "unknown"]


class RateSummary(TypedDict):
    """One task, method and learning rate, over its seeds. Means are over the ``n`` committed runs alone.

    ``dropped`` are runs that a race has decided not to train.
    """

    lr: float
    n: int
    mean: float | None
    sd: float | None
    interval: list[float] | None
    worst: float | None
    worst_seed: int | None
    diverged: int
    diverged_seeds: list[int]
    failed: int
    failed_seeds: list[int]
    dropped: int
    volatility: float | None
    validation_mean: float | None
    train_seconds: float | None
    trainable_parameters: int | None


class MethodSummary(RateSummary):
    """One task and method at the learning rate chosen on validation, and every rate that was tried."""

    base_accuracy: float | None
    by_lr: dict[str, RateSummary]


class Discordance(TypedDict):
    """Where exactly one of two methods was right: counts for the first and the second, and McNemar's exact p."""

    wins: int
    losses: int
    p: float
    p_corrected: float | None


class Difference(TypedDict):
    """Accuracy of ``first`` minus ``second``, paired by seed.

    ``values`` belong to ``seeds``; ``unpaired`` are the seeds that only one of the two finished. ``detectable`` is the
    true difference that so many seeds with this spread detect with power 0.8. ``pooled`` counts every (seed, item),
    ``by_item`` every item once.
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
    p: float | None
    p_corrected: float | None
    detectable: float | None
    pooled: Discordance | None
    by_item: Discordance | None
    verdict: Verdict


class TaskSummary(TypedDict):
    """One task: its methods, and all their pairs (those with the reference first)."""

    methods: dict[str, MethodSummary]
    differences: list[Difference]


class MacroMethod(TypedDict):
    """A method over all tasks.

    ``mean`` is the mean over tasks of the tasks' means (None where a task has no finished run). ``n``, ``seed_mean``,
    ``sd``, ``interval``, ``worst`` are over the macro averages of the seeds that finished on all tasks.
    """

    tasks: int
    mean: float | None
    n: int
    seed_mean: float | None
    sd: float | None
    interval: list[float] | None
    worst: float | None
    worst_seed: int | None
    diverged: int
    failed: int


class Macro(TypedDict):
    """The averages over tasks, and their paired differences."""

    methods: dict[str, MacroMethod]
    differences: list[Difference]


class Summary(TypedDict):
    """The whole file."""

    reference: str | None
    tasks: dict[str, TaskSummary]
    macro: Macro
    headline: str
    claims: list[str]
