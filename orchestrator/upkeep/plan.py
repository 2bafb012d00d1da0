"""The runs of a recipe with the run keys that they have in a sweep's folder, without reading base and data again.

A run key needs the fingerprints of base and data. The sweep has written both into its ``sweep.json``, with the recipe
of that moment; they hold as long as the recipe still names the same base and the same data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from orchestrator.data.batches import count_steps
from orchestrator.paths import readable
from orchestrator.plan.runs import PlannedRun, expand, keyed
from orchestrator.recipe.frozen import Frozen
from orchestrator.recipe.reading.checks import brief
from orchestrator.recipe.sections import MethodSpec
from orchestrator.recipe.spec import SweepSpec

DATA_BY_CONTENT = ("mirror",)  # where rows come from; their content is in the fingerprint
MODEL_BY_RUN = ("dtype", "targets")  # these are in the key of a run, not in the fingerprint of the base
PLACES = ("path", "test", "train")  # of a base and of rows of one's own: another place may hold the same content


@dataclass(frozen=True)
class Plan:
    """The runs of a recipe. A run whose key is not known has the key "".

    ``steps`` are the optimizer steps of a run, by task, where they are known. ``unknown`` are the reasons why keys are
    not known, one line each: the recipe differs from the recipe of the folder. ``assumed`` are the places of base and
    rows that differ: the keys are those of the content that the folder was made from.
    """

    runs: tuple[PlannedRun, ...]
    steps: Mapping[str, int]
    unknown: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()

    @property
    def keys(self) -> dict[str, PlannedRun]:
        """The runs whose key is known, by key."""
        return {run.key: run for run in self.runs if run.key}


def plan_of(spec: SweepSpec, made: Mapping[str, Any] | None) -> Plan:
    """Return the runs of ``spec``; ``made`` is the content of the folder's sweep.json, None before a first start."""
    if made is None:
        return Plan(_without_keys(spec), {})
    return _plan_in(spec, made)


def _plan_in(spec: SweepSpec, made: Mapping[str, Any]) -> Plan:
    before = made["recipe"]
    spec, unknown = _with_ranks(spec, before)
    model = before.get("model", {})
    unknown += _changes("model", spec.model, model, (*MODEL_BY_RUN, *PLACES))
    unknown += _changes("data", spec.data, before.get("data", {}), DATA_BY_CONTENT)
    assumed = _moved("model", spec.model, model)
    if unknown:
        return Plan(_without_keys(spec), {}, tuple(unknown))
    tasks_before = {task.get("name"): task for task in before.get("tasks", [])}
    known = dict[str, Mapping[str, Any]]()
    for task in spec.tasks:
        if task.name not in tasks_before or task.name not in made["data"]:
            unknown.append(f"task {task.name} is new in the recipe")
        elif changes := _changes(f"task {task.name}", task, tasks_before[task.name], PLACES):
            unknown += changes
        else:
            assumed += _moved(f"task {task.name}", task, tasks_before[task.name])
            known[task.name] = made["data"][task.name]
    fingerprints = {task: str(data["fingerprint"]) for task, data in known.items()}
    optim = spec.optim
    steps = {task: count_steps(int(data["train"]), optim.global_batch, optim.epochs) for task, data in known.items()}
    runs = expand(spec)
    keys = keyed([run for run in runs if run.task.name in known], str(made["base"]), fingerprints)
    with_keys = iter(keys)
    planned = tuple(next(with_keys) if run.task.name in known else PlannedRun("", run) for run in runs)
    return Plan(planned, steps, tuple(unknown), tuple(assumed))


def _without_keys(spec: SweepSpec) -> tuple[PlannedRun, ...]:
    return tuple(PlannedRun("", run) for run in expand(spec))


def _changes(section: str, now: Frozen, before: Mapping[str, Any], leave: tuple[str, ...]) -> list[str]:
    """Return a line per key in which a section of the recipe differs from the section in sweep.json.

    A key that sweep.json lacks is newer than the file, and had its default value then.
    """
    defaults = {name: field.default for name, field in type(now).model_fields.items()}
    values = now.model_dump(mode="json")
    return [
        f"{section}: {key} is {brief(value)} in the recipe and was {brief(before.get(key, defaults[key]))}"
        for key, value in values.items()
        if key not in leave and value != before.get(key, defaults[key])
    ]


def _moved(section: str, now: Frozen, before: Mapping[str, Any]) -> list[str]:
    """Return a line per place that differs: the place itself, not its spelling."""
    values = now.model_dump()
    both = [(key, values.get(key), before.get(key)) for key in PLACES]
    return [
        f"{section}: {key} is {brief(value)} in the recipe and was {brief(old)}"
        for key, value, old in both
        if value != old and not (value and old and readable(str(value)) == readable(str(old)))
    ]


def _with_ranks(spec: SweepSpec, before: Mapping[str, Any]) -> tuple[SweepSpec, list[str]]:
    """Return the recipe with the ranks that ``budget: parameters`` has chosen for the folder, and reasons if it cannot.

    The ranks follow from the shape of the base, and sweep.json has them.
    """
    if spec.budget == "none":
        return spec, []
    try:
        methods = [MethodSpec.model_validate(method) for method in before.get("methods", [])]
    except ValidationError:  # of a version that had other settings
        methods = []
    if (
        methods
        and before.get("budget") == spec.budget
        and {_apart_from_rank(method) for method in methods} <= {_apart_from_rank(method) for method in spec.methods}
    ):
        return spec.model_copy(update={"methods": methods}), []
    return spec, [f"budget: {spec.budget} chooses the ranks of these methods when the sweep starts"]


def _apart_from_rank(method: MethodSpec) -> str:
    moved = ("rank", "alpha", "rank_minus")
    settings = {name: value for name, value in method.settings.items() if name not in moved}
    return repr((method.name, sorted(settings.items(), key=str), method.targets))
