"""The claims: one sentence per task on how the methods compare, and the limits of these sentences."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.statistics.power import MOST_SEEDS, seeds_needed
from orchestrator.summary.phrases import NAMED, how_sure, is_equal, standing
from orchestrator.summary.schema import Macro, MethodSummary, TaskSummary
from orchestrator.wording import count, listed, number, percent, points, rate

EQUAL_SIGNS = 6
"""The fewest equal signs whose two-sided sign test is below 0.05: ``2 ** (1 - 6) = 0.031``."""


def claims(reference: str | None, tasks: Mapping[str, TaskSummary], macro: Macro) -> list[str]:
    """Return a sentence per task, then the limits that a reader must know before repeating them."""
    if reference is None:
        return []
    by_task = [_task_claim(task, reference, summary) for task, summary in tasks.items()]
    limits = [_resolution(reference, macro), _no_spread(tasks), _family(reference, tasks), _grid_edges(tasks)]
    limits += [_tuning(tasks), _budgets(reference, tasks)]
    return [sentence for sentence in by_task + limits if sentence]


def _task_claim(task: str, reference: str, summary: TaskSummary) -> str:
    if reference not in summary["methods"] or not summary["methods"][reference]["n"]:
        return f"{task}: {reference} has no finished run."
    own = summary["methods"][reference]
    level = f"{reference} {percent(own['mean'])}"
    if how_sure(own):
        level += f" ({how_sure(own)})"
    if own["stopped"]:
        level += f" (over the {count(own['n'], 'seed')} that rungs left)"
    if own["base_accuracy"] is not None:
        level += f", untrained base {percent(own['base_accuracy'])}"
    phrases = standing([pair for pair in summary["differences"] if pair["first"] == reference and pair["n"] > 1])
    return f"{task}: {level}" + (f"; {'; '.join(phrases)}." if phrases else ".")


def _resolution(reference: str, macro: Macro) -> str:
    """Say which difference the ties could have hidden, and how many seeds would settle the least certain tie."""
    ties = [pair for pair in macro["differences"] if pair["first"] == reference and pair["verdict"] == "tie"]
    widest = max(ties, key=lambda pair: pair["detectable"] or 0.0, default=None)
    if widest is None or not widest["detectable"] or not widest["sd"]:
        return ""
    missed = f"a true difference of {number(100 * min(1.0, widest['detectable']))} points"
    even = "even " if widest["detectable"] > 1 else ""
    sentence = (
        f"A tie is not equality: against {widest['second']}, {count(widest['n'], 'seed')} with this spread would miss "
        f"{even}{missed} one time in five, and more often after correction."
    )
    if not widest["mean"]:
        return sentence
    needed = seeds_needed(widest["mean"], widest["sd"])
    if needed is not None and needed <= widest["n"]:
        return sentence
    seeds = f"more than {count(MOST_SEEDS, 'seed')}" if needed is None else f"about {count(needed, 'seed')}"
    seen = number(100 * abs(widest["mean"]), 2)
    return f"{sentence} If the {seen} points seen are true, it would take {seeds} to show them."


def _no_spread(tasks: Mapping[str, TaskSummary]) -> str:
    """Say of differences that are equal at every seed, and not 0, why they have no interval."""
    without = [
        f"{points(pair['mean'])} points against {pair['second']} on {task} ({count(pair['n'], 'seed')})"
        for task, summary in tasks.items()
        for pair in summary["differences"]
        if pair["verdict"] != "unknown" and pair["sd"] == 0 and not is_equal(pair)
    ]
    if not without:
        return ""
    named = listed(without) if len(without) <= NAMED else count(len(without), "comparison")
    return (
        f"Equal at every seed: {named}. So few seeds without spread are no certainty: there is no interval, and p is "
        f"that of the sign test, which is below 0.05 from {EQUAL_SIGNS} seeds on."
    )


def _family(reference: str, tasks: Mapping[str, TaskSummary]) -> str:
    tested = sum(pair["p"] is not None for task in tasks.values() for pair in task["differences"])
    return (
        f"The p-values by task are Holm-corrected over all {tested} comparisons of {reference} with another method."
        if tested > 1
        else ""
    )


def _grid_edges(tasks: Mapping[str, TaskSummary]) -> str:
    """Count and name the chosen rates that are an end of their grid: the best rate may lie beyond the grid."""
    at_edge = [
        f"{name} on {task} ({rate(method['lr'])})"
        for task, summary in tasks.items()
        for name, method in summary["methods"].items()
        if _on_edge(method)
    ]
    if not at_edge:
        return ""
    chosen = sum(bool(method["n"]) for summary in tasks.values() for method in summary["methods"].values())
    named = f": {listed(at_edge)}" if len(at_edge) <= NAMED else ""
    return (
        f"In {len(at_edge)} of {chosen} cases the chosen learning rate is an end of its grid, so a better one may lie "
        f"beyond{named}."
    )


def _on_edge(method: MethodSummary) -> bool:
    rates = [setting["lr"] for setting in method["by_lr"].values()]
    return method["n"] > 0 and len(rates) > 1 and method["lr"] in (min(rates), max(rates))


def _tuning(tasks: Mapping[str, TaskSummary]) -> str:
    """If methods were tuned over unequal numbers of settings, say what each method reaches with the smallest number."""
    tried = {
        task: {name: curve for name, curve in summary["families"].items() if curve} for task, summary in tasks.items()
    }
    unequal = [task for task, curves in tried.items() if len({len(curve) for curve in curves.values()}) > 1]
    if not unequal:
        return ""
    task, curves = unequal[0], tried[unequal[0]]
    fewest = min(len(curve) for curve in curves.values())
    reached = [f"{name} {percent(curve[fewest - 1]['test'])} (of {len(curve)})" for name, curve in curves.items()]
    return (
        f"Methods were tuned over different numbers of settings. The best of {count(fewest, 'setting')} drawn from "
        f"each is expected to reach, on {task}: {listed(reached)}."
    )


def _budgets(reference: str, tasks: Mapping[str, TaskSummary]) -> str:
    """Name the methods that train more or fewer parameters than the reference by over 5 %."""
    ratios: dict[str, float] = {}
    for summary in tasks.values():
        sizes = {name: method["trainable_parameters"] or 0 for name, method in summary["methods"].items()}
        if sizes.get(reference):
            ratios |= {name: size / sizes[reference] for name, size in sizes.items() if size}
    unequal = [f"{name} {ratio:.2f} times" for name, ratio in ratios.items() if abs(ratio - 1) > 0.05]
    return f"Parameter budgets differ: relative to {reference}, {listed(unequal)}." if unequal else ""
