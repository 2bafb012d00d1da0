"""The first sentences of a report: the outcome of the sweep, and the runs that are missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from orchestrator.summary.phrases import NAMED, how_sure, on_tasks, standing
from orchestrator.summary.schema import Difference, Macro, ResultRow, TaskSummary
from orchestrator.summary.search_limits import left_out
from orchestrator.wording import count, listed, percent, rate


def headline(reference: str | None, tasks: Mapping[str, TaskSummary], macro: Macro, rows: Sequence[ResultRow]) -> str:
    """Return the outcome of the sweep: who is ahead on average over the tasks, and which runs are missing."""
    by_task = _by_task(reference, tasks) if reference is not None else ""
    sentences = [_outcome(reference, tasks, macro), by_task, _diverged(rows), _failed(rows), left_out(rows)]
    sentences.append(_stopped(rows, tasks))
    return " ".join(sentence for sentence in sentences if sentence)


def _outcome(reference: str | None, tasks: Mapping[str, TaskSummary], macro: Macro) -> str:
    finished = [summary["n"] for task in tasks.values() for summary in task["methods"].values()]
    if reference is None or not any(finished):
        return "No run finished: nothing can be concluded."
    where = on_tasks(tasks)
    if max(finished) < 2:
        return _too_few(macro, where)
    if len(macro["methods"]) == 1:
        return _alone(reference, macro, where)
    seeds = max(pair["n"] for pair in macro["differences"])
    phrases = standing([pair for pair in macro["differences"] if pair["first"] == reference])
    return f"{reference} is {'; '.join(phrases)} {where}" + (f", {count(seeds, 'seed')}." if seeds > 1 else ".")


def _too_few(macro: Macro, where: str) -> str:
    """Say that no method has two finished runs on a task."""
    means = {name: average["mean"] for name, average in macro["methods"].items() if average["mean"] is not None}
    shown = f" {listed([f'{name} {percent(mean)}' for name, mean in means.items()])} {where}." if means else ""
    stopped = any(average["stopped"] for average in macro["methods"].values())
    few = "Rungs left at most one seed a method" if stopped else "Only one seed a method"
    return f"{few}, so nothing can be concluded and no interval is given.{shown}"


def _alone(method: str, macro: Macro, where: str) -> str:
    average = macro["methods"][method]
    if average["stopped"]:
        return f"{method} has no average {where}: seeds were stopped at rungs; there is no other method either."
    sure = f" ({how_sure(average)})" if how_sure(average) else ""
    return f"{method} reaches {percent(average['mean'])} {where}{sure}; there is no other method to compare it with."


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
    verdicts = Counter(pair["verdict"] for pair in pairs)
    rest = [f"{count(verdicts['tie'], 'tie')}"] if verdicts["tie"] else []
    rest += [f"behind on {verdicts['behind']}"] if verdicts["behind"] else []
    rest += [f"{verdicts['unknown']} not comparable"] if verdicts["unknown"] else []
    ahead = f"ahead of {name} on {verdicts['ahead']} of {count(len(pairs), 'task')}"
    return ahead + (f" ({listed(rest)})" if rest else "")


def _more_seeds(tasks: Mapping[str, TaskSummary]) -> str:
    """Name the tie that the fewest more seeds would settle to one point; "" if every tie has seeds enough for that."""
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


def _diverged(rows: Sequence[ResultRow]) -> str:
    lost = [row for row in rows if row["status"] == "diverged"]
    named = [f"{row['method']} on {row['task']}, seed {row['seed']} at lr {rate(row['lr'])}" for row in lost[:NAMED]]
    more = f"; and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
    return f"Diverged and in no average: {'; '.join(named)}{more}." if lost else ""


def _failed(rows: Sequence[ResultRow]) -> str:
    lost = sum(row["status"] == "failed" for row in rows)
    return f"{count(lost, 'run')} failed and {'is' if lost == 1 else 'are'} missing from these figures." if lost else ""


def _stopped(rows: Sequence[ResultRow], tasks: Mapping[str, TaskSummary]) -> str:
    """Count the runs that rungs stopped, and name the methods whose chosen rate has lost seeds to rungs."""
    stopped = sum(row["status"] == "stopped" for row in rows)
    if not stopped:
        return ""
    was, is_ = ("was", "is") if stopped == 1 else ("were", "are")
    sentence = f"{stopped} of {count(len(rows), 'run')} {was} stopped at a rung and {is_} in no average."
    partly = [
        f"{name} on {task}"
        for task, summary in tasks.items()
        for name, method in summary["methods"].items()
        if method["n"] and method["stopped"]
    ]
    if not partly:
        return sentence
    named = listed(partly) if len(partly) <= NAMED else f"{len(partly)} cases"
    return (
        f"{sentence} For {named} no rate kept all its seeds: those left were selected, so no interval and no "
        "comparison."
    )
