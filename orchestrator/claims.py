"""What the figures allow to be said, in sentences: the headline first, and nothing that one seed could overturn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from orchestrator.intervals import MOST_SEEDS, seeds_needed
from orchestrator.left_out import left_out
from orchestrator.summary import Difference, Macro, MethodSummary, Row, TaskSummary
from orchestrator.wording import between, between_points, count, listed, number, p_value, percent, points, rate

NAMED = 4
"""At most so many are named one by one."""


def headline(reference: str | None, tasks: Mapping[str, TaskSummary], macro: Macro, rows: Sequence[Row]) -> str:
    """Return the outcome of the sweep: who is ahead on average over the tasks, and every run that is not in it."""
    by_task = _by_task(reference, tasks) if reference is not None else ""
    sentences = [_outcome(reference, tasks, macro), by_task, _diverged(rows), _failed(rows), left_out(rows)]
    sentences.append(_stopped(rows, tasks))
    return " ".join(sentence for sentence in sentences if sentence)


def claims(reference: str | None, tasks: Mapping[str, TaskSummary], macro: Macro) -> list[str]:
    """Return what holds for each task, then the limits that a reader must know before repeating it."""
    if reference is None:
        return []
    by_task = [_task_claim(task, reference, found) for task, found in tasks.items()]
    limits = [_resolution(reference, macro), _family(reference, tasks), _grid_edges(tasks)]
    limits += [_tuning(tasks), _budgets(reference, tasks)]
    return [sentence for sentence in by_task + limits if sentence]


def _outcome(reference: str | None, tasks: Mapping[str, TaskSummary], macro: Macro) -> str:
    finished = [found["n"] for task in tasks.values() for found in task["methods"].values()]
    if reference is None or not any(finished):
        return "No run finished: nothing can be concluded."
    where = _where(tasks)
    if max(finished) < 2:
        means = [
            f"{name} {percent(found['mean'])}" for name, found in macro["methods"].items() if found["mean"] is not None
        ]
        shown = f" {listed(means)} {where}." if means else ""
        few = "Rungs left at most one seed a method" if _lost_to_rungs(macro) else "Only one seed a method"
        return f"{few}, so nothing can be concluded and no interval is given.{shown}"
    if len(macro["methods"]) == 1:
        return _alone(reference, macro, where)
    seeds = max(found["n"] for found in macro["differences"])
    phrases = _standing([one for one in macro["differences"] if one["first"] == reference], _lost_to_rungs(macro))
    return f"{reference} is {'; '.join(phrases)} {where}" + (f", {count(seeds, 'seed')}." if seeds > 1 else ".")


def _alone(method: str, macro: Macro, where: str) -> str:
    found = macro["methods"][method]
    if found["stopped"]:
        return f"{method} has no average {where}: seeds were stopped at rungs; there is no other method either."
    interval = (
        f" (95 % interval {between(found['interval'])}, {count(found['n'], 'seed')})" if found["interval"] else ""
    )
    return f"{method} reaches {percent(found['mean'])} {where}{interval}; there is no other method to compare it with."


def _lost_to_rungs(macro: Macro) -> list[str]:
    """Return the methods of which a task's chosen rate has lost seeds to rungs: they are compared with nothing."""
    return [name for name, found in macro["methods"].items() if found["stopped"]]


def _standing(differences: Sequence[Difference], lost_to_rungs: Collection[str] = ()) -> list[str]:
    """Group the other methods by where the reference stands to them."""
    words = {
        "ahead": "ahead of",
        "behind": "behind",
        "tie": "not distinguishable from",
        "stopped": "not comparable (seeds were stopped at rungs) with",
        "unknown": "not comparable (fewer than 2 shared seeds) with",
        "crossed": "not comparable (too few seeds to tell two axes apart) with",
    }
    groups: dict[str, list[Difference]] = {word: [] for word in words}
    for found in differences:
        stopped = found["first"] in lost_to_rungs or found["second"] in lost_to_rungs
        crossed = found["verdict"] == "unknown" and found["n"] > 1
        groups["stopped" if stopped else "crossed" if crossed else found["verdict"]].append(found)
    return [f"{words[word]} {_named(group, len(differences))}" for word, group in groups.items() if group]


def _named(group: Sequence[Difference], others: int) -> str:
    """Name each method and its distance; many that do not differ are only counted."""
    if len(group) > NAMED and group[0]["verdict"] in ("tie", "unknown"):
        return f"{'any of the' if len(group) == others else 'the remaining'} {len(group)} other methods"
    return listed([_measured(found, alone=others == 1) for found in group])


def _measured(found: Difference, alone: bool) -> str:
    """Return the other method and its distance; how sure it is, too, where there is only one and room for it."""
    if found["interval"] is None:
        return found["second"]
    sure = f", 95 % interval {between_points(found['interval'])}, corrected p {p_value(found['p_corrected'])}"
    return f"{found['second']} ({points(found['mean'])} points{sure if alone else ''})"


def _where(tasks: Mapping[str, TaskSummary]) -> str:
    return f"on {next(iter(tasks))}" if len(tasks) == 1 else f"on average over {len(tasks)} tasks"


def _by_task(reference: str, tasks: Mapping[str, TaskSummary]) -> str:
    """Count the tasks on which the reference is ahead of each other method, and say what more seeds would settle."""
    against: dict[str, list[Difference]] = {}
    for summary in tasks.values():
        for pair in summary["differences"]:
            against.setdefault(pair["second"], []).append(pair)
    compared = {name: pairs for name, pairs in against.items() if any(pair["verdict"] != "unknown" for pair in pairs)}
    if len(tasks) < 2 or not 0 < len(compared) <= NAMED:
        return ""
    phrases = [_task_count(name, pairs) for name, pairs in compared.items()]
    return f"By task, {reference} is {'; '.join(phrases)}. {_more_seeds(tasks)}".strip()


def _task_count(name: str, pairs: Sequence[Difference]) -> str:
    seen = Counter(pair["verdict"] for pair in pairs)
    rest = [f"{count(seen['tie'], 'tie')}"] if seen["tie"] else []
    rest += [f"behind on {seen['behind']}"] if seen["behind"] else []
    rest += [f"{seen['unknown']} not comparable"] if seen["unknown"] else []
    return f"ahead of {name} on {seen['ahead']} of {count(len(pairs), 'task')}" + (f" ({listed(rest)})" if rest else "")


def _more_seeds(tasks: Mapping[str, TaskSummary]) -> str:
    """Name the tie that the fewest more seeds would settle to one point; nothing where all ties are that fine."""
    ties = [
        (pair["seeds_for_one_point"], pair["n"], task, pair["second"])
        for task, summary in tasks.items()
        for pair in summary["differences"]
        if pair["verdict"] == "tie"
    ]
    open_ties = [(needed - n, task, other) for needed, n, task, other in ties if needed is not None and needed > n]
    if not open_ties:
        return ""
    more, task, other = min(open_ties)
    return f"{count(more, 'more seed')} would resolve 1 point on {task} against {other}."


def _diverged(rows: Sequence[Row]) -> str:
    lost = [row for row in rows if row["status"] == "diverged"]
    named = [f"{row['method']} on {row['task']}, seed {row['seed']} at lr {rate(row['lr'])}" for row in lost[:NAMED]]
    more = f"; and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
    return f"Diverged and in no average: {'; '.join(named)}{more}." if lost else ""


def _failed(rows: Sequence[Row]) -> str:
    lost = sum(row["status"] == "failed" for row in rows)
    return f"{count(lost, 'run')} failed and {'is' if lost == 1 else 'are'} missing from these figures." if lost else ""


def _stopped(rows: Sequence[Row], tasks: Mapping[str, TaskSummary]) -> str:
    """Count the runs stopped at rungs, and say of which methods the chosen rate has lost some."""
    out = sum(row["status"] == "stopped" for row in rows)
    if not out:
        return ""
    they = ("was", "is") if out == 1 else ("were", "are")
    said = f"{out} of {count(len(rows), 'run')} {they[0]} stopped at a rung and {they[1]} in no average."
    partly = [f"{name} on {task}" for task, found in tasks.items() for name, one in found["methods"].items()
              if one["n"] and one["stopped"]]  # fmt: skip
    if not partly:
        return said
    named = listed(partly) if len(partly) <= NAMED else f"{len(partly)} cases"
    return f"{said} For {named} no rate kept all its seeds: those left were selected, so no interval and no comparison."


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
