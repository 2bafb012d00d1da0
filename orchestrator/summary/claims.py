"""What the figures allow to be said, in sentences: the headline first, and nothing that one seed could overturn."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.statistics.power import MOST_SEEDS, seeds_needed
from orchestrator.summary.phrases import NAMED, _standing
from orchestrator.summary.schema import Macro, MethodSummary, TaskSummary
from orchestrator.wording import between, count, listed, number, percent, rate


def claims(reference: str | None, tasks: Mapping[str, TaskSummary], macro: Macro) -> list[str]:
    """Return what holds for each task, then the limits that a reader must know before repeating it."""
    if reference is None:
        return []
    by_task = [_task_claim(task, reference, found) for task, found in tasks.items()]
    limits = [_resolution(reference, macro), _family(reference, tasks), _grid_edges(tasks)]
    limits += [_tuning(tasks), _budgets(reference, tasks)]
    return [sentence for sentence in by_task + limits if sentence]


def _task_claim(task: str, reference: str, found: TaskSummary) -> str:
    if reference not in found["methods"] or not found["methods"][reference]["n"]:
        return f"{task}: {reference} has no finished run."
    own = found["methods"][reference]
    level = f"{reference} {percent(own['mean'])}"
    if own["interval"]:
        level += f" (95 % interval {between(own['interval'])}, {count(own['n'], 'seed')})"
    if own["stopped"]:
        level += f" (over the {count(own['n'], 'seed')} that rungs left)"
    if own["base_accuracy"] is not None:
        level += f", untrained base {percent(own['base_accuracy'])}"
    phrases = _standing([pair for pair in found["differences"] if pair["first"] == reference and pair["n"] > 1])
    return f"{task}: {level}" + (f"; {'; '.join(phrases)}." if phrases else ".")


def _resolution(reference: str, macro: Macro) -> str:
    """Say what the ties could have hidden, and how many seeds would settle the largest of them."""
    ties = [found for found in macro["differences"] if found["first"] == reference and found["verdict"] == "tie"]
    widest = max(ties, key=lambda found: found["detectable"] or 0.0, default=None)
    if widest is None or not widest["detectable"] or not widest["sd"]:
        return ""
    missed = number(100 * widest["detectable"])
    sentence = (
        f"A tie is not equality: against {widest['second']}, {count(widest['n'], 'seed')} with this spread would miss "
        f"a true difference of {missed} points one time in five, and more often after correction."
    )
    if not widest["mean"]:
        return sentence
    needed = seeds_needed(widest["mean"], widest["sd"])
    if needed is not None and needed <= widest["n"]:
        return sentence
    seeds = f"more than {count(MOST_SEEDS, 'seed')}" if needed is None else f"about {count(needed, 'seed')}"
    seen = number(100 * abs(widest["mean"]), 2)
    return f"{sentence} If the {seen} points seen are true, it would take {seeds} to show them."


def _family(reference: str, tasks: Mapping[str, TaskSummary]) -> str:
    tested = sum(pair["p"] is not None for task in tasks.values() for pair in task["differences"])
    return (
        f"The p-values by task are Holm-corrected over all {tested} comparisons of {reference} with another method."
        if tested > 1
        else ""
    )


def _grid_edges(tasks: Mapping[str, TaskSummary]) -> str:
    """A chosen rate at the end of its grid may not be the best there is."""
    at_edge = [
        f"{name} on {task} ({rate(found['lr'])})"
        for task, summary in tasks.items()
        for name, found in summary["methods"].items()
        if _on_edge(found)
    ]
    if not at_edge:
        return ""
    chosen = sum(bool(found["n"]) for summary in tasks.values() for found in summary["methods"].values())
    named = f": {listed(at_edge)}" if len(at_edge) <= NAMED else ""
    return (
        f"In {len(at_edge)} of {chosen} cases the chosen learning rate is an end of its grid, so a better one may lie "
        f"beyond{named}."
    )


def _on_edge(found: MethodSummary) -> bool:
    rates = [each["lr"] for each in found["by_lr"].values()]
    return found["n"] > 0 and len(rates) > 1 and found["lr"] in (min(rates), max(rates))


def _tuning(tasks: Mapping[str, TaskSummary]) -> str:
    """Where methods were tuned over unequal numbers of settings, say what each reaches with as few as the fewest."""
    tried = {task: {name: curve for name, curve in found["families"].items() if curve} for task, found in tasks.items()}
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
        sizes = {name: found["trainable_parameters"] or 0 for name, found in summary["methods"].items()}
        if sizes.get(reference):
            ratios |= {name: size / sizes[reference] for name, size in sizes.items() if size}
    unequal = [f"{name} {ratio:.2f} times" for name, ratio in ratios.items() if abs(ratio - 1) > 0.05]
    return f"Parameter budgets differ: relative to {reference}, {listed(unequal)}." if unequal else ""
