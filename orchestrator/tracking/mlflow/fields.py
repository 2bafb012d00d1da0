"""Pure: the fields that a tracker shows of a run, a group and a sweep: names, tags, parameters, numbers, notes."""

from __future__ import annotations

import json
import math
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
from orchestrator.tracking.mlflow.source import COMMIT, commit_of

SCORES = ("accuracy", "accuracy_norm", "validation_accuracy", "eval_loss", "train_loss_volatility", "train_seconds")
LONGEST = 8000  # characters of a description: MLflow takes no longer tag
GROUPS = "tags.sweep = '{}' and tags.kind = 'group'"
BY_MEAN = "metrics.`mean_accuracy`"  # sorted by a metric, MLflow's page lists runs flat and not as a tree
SYSTEM = ("peak_memory_megabytes", "cpu_seconds", "runs")
NOTE = "mlflow.note.content"  # the tag that MLflow shows as the description
STATISTICS = ("mean", "sd", "worst", "n", *LOST, "volatility", "base_accuracy", "validation_mean", "lr")


def title(run: PlannedRun) -> str:
    """Return a run's name: seed and rate come first, because MLflow's column is narrow."""
    spec = run.spec
    return f"{seed_words(**spec.seeds)} · lr {spec.lr:g} · {spec.method.label} · {spec.task.name}"


def tags(run: PlannedRun, command: str) -> dict[str, str]:
    """Return the tags by which the next driver finds a run, and its description; ``command`` is the sweep's."""
    spec = run.spec
    names = {"kind": "run", "run_key": run.key, "task": spec.task.name, "method": spec.method.label}
    names |= {name: str(seed) for name, seed in spec.seeds.items()}
    names |= {"lr": repr(spec.lr), "model": spec.model.source}
    words = f"{spec.method.label} on {spec.task.name} at rate {wording.rate(spec.lr)}, {seed_words(**spec.seeds)}."
    alone = shlex.join([*shlex.split(command), *alone_words(run)])
    return names | {NOTE: f"{words} This run alone, under a name of its own:\n\n```\n{alone}\n```"}


def alone_words(run: PlannedRun) -> list[str]:
    """Return the ``key=value`` words that make this run, and no other, of its sweep's recipe.

    The words set task, method, rate and seed, so the run key is that of the sweep's run. The new sweep gets a name of
    its own, because under the old name the files of the sweep would be written again, with one run in them.
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
    """Return the tags of a new group; the tag ``lr``, the chosen rate, is added at the end."""
    return {"kind": "group", "task": task, "method": method, "model": model}


def params(run: PlannedRun) -> dict[str, str]:
    """Return a run's parameters: only values that the run key covers, because MLflow refuses a changed parameter."""
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
    """Return the numbers of a run that has ended, as far as its row has them.

    Memory and processor time of the run's trainer are under ``system/``, which MLflow shows on a page of its own.
    """
    used = row.get("trainer") or {}
    system = {f"system/trainer_{name}": float(used[name]) for name in SYSTEM if used.get(name) is not None}
    scored = {name: float(row[name]) for name in SCORES if row.get(name) is not None}
    measured = (row.get("diagnostics") or {}).items()
    return scored | system | {f"diagnostics/{name}": float(value) for name, value in measured if name != "skipped"}


def end_tags(ended: str, row: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a run that has ended: its status, for a stopped run the reason, and what made it."""
    reason = {"reason": str(row["reason"])} if ended == "stopped" else {}
    return reason | _resumed(row) | _made_by(row) | {"status": ended}


def _resumed(row: Mapping[str, Any]) -> dict[str, str]:
    """Return how often a run was broken off and went on, and at which steps; nothing for a run in one piece."""
    steps = row.get("resumed") or []
    return {"resumed": str(len(steps)), "resumed_at_steps": ", ".join(map(str, steps))} if steps else {}


def _made_by(row: Mapping[str, Any]) -> dict[str, str]:
    """Return what made a run, a tag per value; the commit also under the name that MLflow's page shows as the source.

    >>> _made_by({"made_by": {"commit": "ab12", "versions": {"torch": "2.13"}, "pack": None}})
    {'made_by.commit': 'ab12', 'made_by.versions.torch': '2.13', 'mlflow.source.git.commit': 'ab12'}
    """
    made = row.get("made_by") or {}
    commit = {COMMIT: commit_of(str(made["commit"]))} if made.get("commit") else {}
    return _flat("made_by", made) | commit


def _flat(name: str, value: Any) -> dict[str, str]:
    """Return a nested value as tags whose names are joined by dots; None is left out."""
    if isinstance(value, Mapping):
        return {key: text for inner, part in value.items() for key, text in _flat(f"{name}.{inner}", part).items()}
    return {} if value is None else {name: str(value)[:LONGEST]}


def group_summary_tags(task: str, method: str, summary: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a finished group: the chosen rate, and the method's ``summary`` as a sentence."""
    lost = [f"{summary[ending]} {ending}" for ending in LOST if summary[ending]]
    accuracy = f"{wording.percent(summary['mean'])} mean accuracy" if summary["mean"] is not None else "no accuracy"
    if summary["interval"]:
        accuracy += f" (95 % interval {wording.between(summary['interval'])})"
    over = f"over {wording.count(summary['n'], 'seed')}" + (f"; {wording.listed(lost)}" if lost else "")
    chosen = f"at rate {wording.rate(summary['lr'])}, chosen on validation"
    return {"lr": repr(summary["lr"]), NOTE: f"{method} on {task}: {accuracy} {over}, {chosen}."}


def sweep_note(name: str, summary: Mapping[str, Any], command: str, address: str) -> str:
    """Return the description of a finished sweep: its command and headline, a link, and every method's mean.

    MLflow's page cuts a description after a few lines, so command and headline come first. The link opens the groups
    as bar charts; ``address`` is that of the experiment's runs. The table of means is left out where MLflow would cut
    the tag.
    """
    query = urlencode({"searchFilter": GROUPS.format(name), "orderByKey": BY_MEAN, "compareRunsMode": "CHART"})
    charts = f"[The methods as bar charts]({address}?{query}). Figures: tabs *Model metrics* and *Artifacts*."
    table = _accuracies(summary["tasks"])
    note = "\n\n".join([f"`{command}`", summary["headline"], charts, table])
    return note if len(note) <= LONGEST else note.removesuffix(table)


def _accuracies(tasks: Mapping[str, Any]) -> str:
    """Return test accuracies as a table in Markdown: one row per method, one column per task."""
    methods = dict.fromkeys(method for content in tasks.values() for method in content["methods"])
    lines = [["method", *tasks], ["---"] * (1 + len(tasks))]
    lines += [[method, *(_cell(content["methods"].get(method)) for content in tasks.values())] for method in methods]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _cell(summary: Mapping[str, Any] | None) -> str:
    if summary is None or summary["mean"] is None:
        return wording.NOTHING
    interval = f" ({wording.between(summary['interval'])})" if summary["interval"] else ""
    return f"{wording.percent(summary['mean'])}{interval}, {seeds_left(summary)}"


def finished(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return how many runs are committed; the number grows from an earlier state of a sweep to a later one."""
    return sum(row["status"] == "committed" for row in rows)


def averages(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the average over all tasks of each method that has one, as metrics of the sweep."""
    methods = summary["macro"]["methods"]
    names = apart({label: metric_name(f"macro.{label}") for label in methods})
    return {names[label]: float(mean) for label, method in methods.items() if (mean := method["mean"]) is not None}


def metric_name(name: str) -> str:
    """Return ``name`` with only the signs that MLflow takes in a metric's name.

    With ``d2lora(rank=2,alpha=4)`` as a name MLflow would refuse the whole request. Two names may become the same: see
    `apart`.
    """
    plain = name.replace("(", " ").replace(")", "").replace("=", ":").replace(",", " ")
    return re.sub(r"[^/\w.\- :]", "_", plain)


def apart(plain: Mapping[str, str]) -> dict[str, str]:
    """Return the plain name of each name, with a number behind a plain name that is taken already.

    Two plain names that differ only in letter case count as the same, because MySQL, for one, does not tell
    letter case apart.

    >>> apart({"a+b": "a_b", "a!b": "a_b"})
    {'a+b': 'a_b', 'a!b': 'a_b 2'}
    """
    given: dict[str, str] = {}
    taken: set[str] = set()
    own = Counter(wanted.casefold() for wanted in plain.values())
    for name, wanted in plain.items():
        numbered = (f"{wanted} {number}" for number in count(2))
        free = (other for other in numbered if other.casefold() not in taken | own.keys())
        given[name] = next(free) if wanted.casefold() in taken else wanted
        taken.add(given[name].casefold())
    return given


def statistics(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return a method's statistics as metrics that MLflow's compare and search views can use."""
    low, high = summary.get("interval") or (None, None)
    values = {"interval_low": low, "interval_high": high}
    values |= {_metric_of(name): summary.get(name) for name in STATISTICS}
    return {name: float(value) for name, value in values.items() if value is not None}


def void_statistics(shown: Mapping[str, float], values: Mapping[str, float]) -> dict[str, float]:
    """Return NaN for each statistic in ``shown`` that ``values`` no longer has, as an interval that new runs made void.

    MLflow cannot delete a number.
    """
    own = {"interval_low", "interval_high", *map(_metric_of, STATISTICS)}
    return {name: math.nan for name, value in shown.items() if name in own - values.keys() and not math.isnan(value)}


def _metric_of(statistic: str) -> str:
    return f"{statistic}_accuracy" if statistic in ("mean", "sd", "worst") else statistic
