"""The reference against each other method on every task, corrected over all tasks together."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.statistics.crossed import Cells
from orchestrator.summary.comparisons import Finished, Marks, corrected, difference, mark, with_items, with_volatility
from orchestrator.summary.reference import reference_pairs
from orchestrator.summary.schema import Difference, MethodSummary, Predictions

Runs = Mapping[str, Mapping[int, Finished]]
"""By method and seed, the comparable runs of one task at the chosen rates."""


def differences_by_task(
    reference: str | None,
    methods: Mapping[str, Mapping[str, MethodSummary]],
    runs: Mapping[str, Runs],
    predictions: Predictions,
    cells: Cells,
) -> dict[str, list[Difference]]:
    """Return by task the reference's difference from each other method; all tasks are one family of the correction.

    ``methods`` and ``runs`` are by task and method, ``predictions`` by run key.
    """
    pairs = [
        (task, pair)
        for task, of_task in runs.items()
        for pair in _differences(reference, methods[task], of_task, predictions, cells)
    ]
    by_task: dict[str, list[Difference]] = {task: [] for task in runs}
    for (task, _), pair in zip(pairs, corrected([pair for _, pair in pairs]), strict=True):
        by_task[task].append(pair)
    return by_task


def _differences(
    reference: str | None,
    methods: Mapping[str, MethodSummary],
    runs: Runs,
    predictions: Predictions,
    cells: Cells,
) -> list[Difference]:
    """Return the uncorrected differences of one task."""
    keys = [run.run_key for by_seed in runs.values() for run in by_seed.values()]
    marks = mark(predictions, [key for key in keys if key in predictions])
    return [
        _difference(names, runs, marks, cells, stopped=any(methods[name]["stopped"] for name in names))
        for names in reference_pairs(list(runs), reference)
    ]


def _difference(
    names: tuple[str, str], runs: Runs, marks: Mapping[str, Marks], cells: Cells, stopped: bool
) -> Difference:
    first, second = (runs[name] for name in names)
    accuracies = [{seed: run.accuracy for seed, run in by_seed.items()} for by_seed in (first, second)]
    pair = difference(names, accuracies[0], accuracies[1], cells, stopped=stopped)
    return with_volatility(with_items(pair, first, second, marks), first, second, cells)
