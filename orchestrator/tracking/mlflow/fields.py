"""Pure: what is shown of a run and of a method, in a tracker's terms: names, tags, parameters and numbers."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any
from urllib.parse import urlencode

from orchestrator import wording
from orchestrator.plan.runs import PlannedRun
from orchestrator.recipe.seeds import seed_words
from orchestrator.summary.phrases import seeds_left
from orchestrator.summary.schema import LOST

SCORES = ("accuracy", "accuracy_norm", "validation_accuracy", "eval_loss", "train_loss_volatility", "train_seconds")
LONGEST = 8000  # characters of a description: what MLflow takes in a tag
GROUPS = "tags.sweep = '{}' and tags.kind = 'group'"
BY_MEAN = "metrics.`mean_accuracy`"  # sorted by a metric, the page lists runs flat and not as a tree
SYSTEM = ("peak_memory_megabytes", "cpu_seconds", "runs")
NOTE = "mlflow.note.content"  # what MLflow shows as the description
STATISTICS = ("mean", "sd", "worst", "n", *LOST, "volatility", "base_accuracy", "validation_mean", "lr")


def title(run: PlannedRun) -> str:
    """Return a run's name: what differs comes first, for the column is narrow."""
    spec = run.spec
    return f"{seed_words(**spec.seeds)} · lr {spec.lr:g} · {spec.method.label} · {spec.task.name}"


def tags(run: PlannedRun, command: str) -> dict[str, str]:
    """Return the tags by which a run is found again, and its description; ``command`` is that of its sweep."""
    spec = run.spec
    names = {"kind": "run", "run_key": run.key, "task": spec.task.name, "method": spec.method.label}
    names |= {name: str(seed) for name, seed in spec.seeds.items()}
    names |= {"lr": repr(spec.lr), "model": spec.model.source}
    words = f"{spec.method.label} on {spec.task.name} at rate {wording.rate(spec.lr)}, {seed_words(**spec.seeds)}."
    alone = shlex.join([*shlex.split(command), *alone_words(run)])
    return names | {NOTE: f"{words} This run alone, under a name of its own:\n\n```\n{alone}\n```"}


def alone_words(run: PlannedRun) -> list[str]:
    """Return the ``key=value`` words that make this one run of its sweep's recipe.

    They set what tells it from its sweep's other runs, so its key is the same. The name differs, or the files of the
    sweep would be written again with one run in them.
    """
    spec = run.spec
    task = spec.task.model_dump(exclude_defaults=True)
    method = {"name": spec.method.name, **spec.method.settings}
    method |= {"targets": spec.method.targets, "label": spec.method.label}
    values: dict[str, Any] = {"name": f"again-{run.key}", "tasks": [task], "methods": [method], "controls": "none"}
    seeds = [spec.seed] if spec.seed_pair is None else {"init": spec.init_seed, "data": spec.data_seed}
    values |= {"seeds": seeds, "optim.lr": spec.lr, "search": {"kind": "grid"}, "champions": False}
    return [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items()]


def group_tags(task: str, method: str, model: str) -> dict[str, str]:
    """Return the tags of the parent of all runs of a task and a method; its ``lr`` is known at the end."""
    return {"kind": "group", "task": task, "method": method, "model": model}


def params(run: PlannedRun) -> dict[str, str]:
    """Return a run's parameters: what its key covers, for MLflow refuses one that changes."""
    spec = run.spec
    values = {"task": spec.task.name, "method": spec.method.name, "lr": spec.lr, **spec.seeds}
    values |= {f"method.{name}": value for name, value in spec.method.settings.items()}
    values |= {"targets": spec.method.targets, "dtype": spec.model.dtype}
    values |= {f"optim.{name}": value for name, value in spec.optim.model_dump(exclude={"lr", "micro_batch"}).items()}
    return {name: str(value) for name, value in values.items()}


def step_values(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of one step."""
    return {name: float(value) for name, value in row.items() if name not in ("step", "time")}


def scores(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a run that has ended, as far as it has them.

    What its trainer used is under ``system/``, which MLflow shows on a page of its own.
    """
    used = row.get("trainer") or {}
    system = {f"system/trainer_{name}": float(used[name]) for name in SYSTEM if used.get(name) is not None}
    found = {name: float(row[name]) for name in SCORES if row.get(name) is not None}
    measured = (row.get("diagnostics") or {}).items()
    return found | system | {f"diagnostics/{name}": float(value) for name, value in measured if name != "skipped"}


def end_tags(ended: str, row: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a run that has ended: how, and of one that was stopped, why."""
    return {"status": ended} | ({"reason": str(row["reason"])} if ended == "stopped" else {})


def group_summary_tags(task: str, method: str, one: Mapping[str, Any]) -> dict[str, str]:
    """Return what a finished parent of a task and a method says of itself: its rate, and a sentence."""
    lost = [f"{one[what]} {what}" for what in LOST if one[what]]
    found = f"{wording.percent(one['mean'])} mean accuracy" if one["mean"] is not None else "no accuracy"
    if one["interval"]:
        found += f" (95 % interval {wording.between(one['interval'])})"
    over = f"over {wording.count(one['n'], 'seed')}" + (f"; {wording.listed(lost)}" if lost else "")
    chosen = f"at rate {wording.rate(one['lr'])}, chosen on validation"
    return {"lr": repr(one["lr"]), NOTE: f"{method} on {task}: {found} {over}, {chosen}."}


def sweep_note(name: str, summary: Mapping[str, Any], command: str, address: str) -> str:
    """Return the description of a finished sweep: what MLflow shows before anything is clicked comes first.

    The page cuts a description after a few lines: the command and the headline fit. Below them is every method's mean
    with its interval, and a link to the groups as bar charts; ``address`` is that of the experiment's runs.
    """
    query = urlencode({"searchFilter": GROUPS.format(name), "orderByKey": BY_MEAN, "compareRunsMode": "CHART"})
    charts = f"[The methods as bar charts]({address}?{query}). Figures: tabs *Model metrics* and *Artifacts*."
    table = _accuracies(summary["tasks"])
    note = "\n\n".join([f"`{command}`", summary["headline"], charts, table])
    return note if len(note) <= LONGEST else note.removesuffix(table)


def _accuracies(tasks: Mapping[str, Any]) -> str:
    """Return test accuracies as a table in Markdown: a row a method, a column a task."""
    methods = dict.fromkeys(method for content in tasks.values() for method in content["methods"])
    lines = [["method", *tasks], ["---"] * (1 + len(tasks))]
    lines += [[method, *(_cell(content["methods"].get(method)) for content in tasks.values())] for method in methods]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _cell(one: Mapping[str, Any] | None) -> str:
    if one is None or one["mean"] is None:
        return wording.NOTHING
    sure = f" ({wording.between(one['interval'])})" if one["interval"] else ""
    return f"{wording.percent(one['mean'])}{sure}, {seeds_left(one)}"


def finished(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return how many runs are committed: it tells a later state of a sweep from an earlier one."""
    return sum(row["status"] == "committed" for row in rows)


def macro(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return each method's average over all tasks as a metric of the sweep, where there is one."""
    methods = summary["macro"]["methods"]
    names = apart({label: metric_name(f"macro.{label}") for label in methods})
    return {names[label]: float(one["mean"]) for label, one in methods.items() if one["mean"] is not None}


def metric_name(name: str) -> str:
    """Return ``name`` as MLflow takes it: of ``d2lora(rank=2,alpha=4)`` it would refuse the whole request.

    Several names may come out as one: see `apart`.
    """
    plain = name.replace("(", " ").replace(")", "").replace("=", ":").replace(",", " ")
    return re.sub(r"[^/\w.\- :]", "_", plain)


def apart(plain: Mapping[str, str]) -> dict[str, str]:
    """Return the plain names, those that come twice with a number behind them; letter case alone tells none apart.

    >>> apart({"a+b": "a_b", "a!b": "a_b"})
    {'a+b': 'a_b', 'a!b': 'a_b 2'}
    """
    given: dict[str, str] = {}
    taken: set[str] = set()
    own = Counter(one.casefold() for one in plain.values())
    for name, one in plain.items():
        numbered = (f"{one} {number}" for number in count(2))
        free = (other for other in numbered if other.casefold() not in taken | own.keys())
        given[name] = next(free) if one.casefold() in taken else one
        taken.add(given[name].casefold())
    return given


def statistics(one: Mapping[str, Any]) -> dict[str, float]:
    """Return a method's statistics as metrics that MLflow's compare and search views can use."""
    found = {f"{name}_accuracy" if name in ("mean", "sd", "worst") else name: one.get(name) for name in STATISTICS}
    low, high = one.get("interval") or (None, None)
    found |= {"interval_low": low, "interval_high": high}
    return {name: float(value) for name, value in found.items() if value is not None}
