"""Statistics across seeds: every method at the rate that validation chose, with what diverged beside what finished."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from orchestrator.statistics.crossed import Cells
from orchestrator.statistics.power import seeds_needed, smallest_detectable_difference
from orchestrator.statistics.volatility import loss_volatility
from orchestrator.summary.all_tasks import macro_averages
from orchestrator.summary.best_of import best_of_n
from orchestrator.summary.claims import claims
from orchestrator.summary.comparisons import Finished, Marks, corrected, difference, mark, with_items, with_volatility
from orchestrator.summary.headline import headline
from orchestrator.summary.rates import _cell, _merit, _seeds, choose_rate, summarise_method, summarise_rate
from orchestrator.summary.reference import most_tried, reference_method, reference_pairs
from orchestrator.summary.schema import (
    BestOf,
    Difference,
    MethodSummary,
    Predictions,
    RateSummary,
    ResultRow,
    Summary,
    TaskSummary,
    family_of,
)
from orchestrator.summary.search_limits import limits_of_search
from orchestrator.summary.tie_groups import tie_groups
from orchestrator.summary.ties import told_ties

__all__ = [
    "choose_rate",
    "loss_volatility",
    "macro_averages",
    "seeds_needed",
    "smallest_detectable_difference",
    "summarise",
    "summarise_method",
    "summarise_rate",
]
Grid = dict[str, dict[str, list[ResultRow]]]
"""By task and method, the rows."""
Runs = Mapping[str, Mapping[int, Finished]]
"""By method and seed, the committed runs of one task at the chosen rates."""


def summarise(rows: Sequence[ResultRow], predictions: Predictions) -> Summary:
    """Return the content of ``summary.json`` from the rows of ``results.jsonl`` and the predictions by run key.

    Runs that diverged or failed are counted and named, and enter no mean; those that a search dropped or a rung stopped
    are counted. The reference is chosen among the methods that were tried on the most tasks. Predictions may be missing
    for any run.
    """
    _refuse_repeated(rows)
    grid = _grid(rows)
    methods = list(dict.fromkeys(str(row["method"]) for row in rows))
    reference = reference_method(most_tried(rows))
    found = {
        task: {name: summarise_method(of, predictions) for name, of in by_method.items()}
        for task, by_method in grid.items()
    }
    scores = {
        task: {name: _finished(grid[task][name], one["lr"]) for name, one in of.items()} for task, of in found.items()
    }
    cells = {int(row["seed"]): _cell(row) for row in rows}
    compared = _compare_all(reference, scores, predictions, cells)
    tasks = {task: _task(reference, of, grid[task], compared[task]) for task, of in found.items()}
    macro = macro_averages(tasks, scores, methods, reference, cells)
    return {
        "reference": reference,
        "tasks": tasks,
        "macro": macro,
        "headline": headline(reference, tasks, macro, rows),
        "claims": claims(reference, tasks, macro) + limits_of_search(rows) + told_ties(rows),
    }


def _task(
    reference: str | None,
    methods: dict[str, MethodSummary],
    rows: Mapping[str, Sequence[ResultRow]],
    pairs: list[Difference],
) -> TaskSummary:
    return {
        "methods": methods,
        "differences": pairs,
        "tie_groups": tie_groups(reference, {name: found["mean"] for name, found in methods.items()}, pairs),
        "families": _families(methods, rows),
    }


def _families(methods: Mapping[str, MethodSummary], rows: Mapping[str, Sequence[ResultRow]]) -> dict[str, list[BestOf]]:
    """Return the best-of-n curve over all settings of the methods that share a name, whatever their labels."""
    settings: dict[str, list[RateSummary]] = {}
    for label, found in methods.items():
        settings.setdefault(family_of(rows[label][0]), []).extend(found["by_lr"].values())
    return {name: best_of_n(sorted(tried, key=_merit)) for name, tried in settings.items()}


def _compare_all(
    reference: str | None, scores: Mapping[str, Runs], predictions: Predictions, cells: Cells
) -> dict[str, list[Difference]]:
    """Compare the reference with each other method within each task, corrected over all tasks together."""
    found = [(task, pair) for task, runs in scores.items() for pair in _compare(reference, runs, predictions, cells)]
    by_task: dict[str, list[Difference]] = {task: [] for task in scores}
    for (task, _), pair in zip(found, corrected([pair for _, pair in found]), strict=True):
        by_task[task].append(pair)
    return by_task


def _compare(reference: str | None, runs: Runs, predictions: Predictions, cells: Cells) -> list[Difference]:
    marks = mark({key: predictions[key] for key in _keys(runs.values()) if key in predictions})
    return [_pair(pair, runs, marks, cells) for pair in reference_pairs(list(runs), reference)]


def _pair(names: tuple[str, str], runs: Runs, marks: Mapping[str, Marks], cells: Cells) -> Difference:
    first, second = runs[names[0]], runs[names[1]]
    accuracies = [{seed: run.accuracy for seed, run in each.items()} for each in (first, second)]
    found = with_items(difference(names, accuracies[0], accuracies[1], cells), first, second, marks)
    return with_volatility(found, first, second, cells)


def _keys(by_method: Iterable[Mapping[int, Finished]]) -> list[str]:
    return [run.run_key for by_seed in by_method for run in by_seed.values()]


def _grid(rows: Sequence[ResultRow]) -> Grid:
    """Return the rows by task and method, read once: a sweep of many methods costs no more a method."""
    grid: Grid = {}
    for row in rows:
        grid.setdefault(str(row["task"]), {}).setdefault(str(row["method"]), []).append(row)
    return grid


def _finished(rows: Sequence[ResultRow], lr: float) -> dict[int, Finished]:
    """Return the runs at the rate that may be compared: the committed ones, but none where others were stopped."""
    mine = [row for row in rows if float(row["lr"]) == lr]
    if _seeds(mine, "stopped"):
        return {}
    return {
        row["seed"]: Finished(str(row["run_key"]), float(row["accuracy"]), row.get("train_loss_volatility"))
        for row in mine
        if row["status"] == "committed"
    }


def _refuse_repeated(rows: Sequence[ResultRow]) -> None:
    """A run counted twice would narrow every interval: refuse it."""
    seen: set[tuple[str, str, float, int]] = set()
    for row in rows:
        place = (str(row["task"]), str(row["method"]), float(row["lr"]), int(row["seed"]))
        if place in seen:
            task, method, lr, seed = place
            raise ValueError(
                f"Two results for task {task!r}, method {method!r}, lr {lr:g}, seed {seed}. Methods that differ in "
                "their settings need labels that differ."
            )
        seen.add(place)
