"""Pure: the recipes of a night's own sweeps: the canary, the seeds of one night alone, and the confirmation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from typing import TypeVar

from orchestrator.errors import InputError
from orchestrator.plan.runs import FORMAT
from orchestrator.recipe.reading.nightly_checks import paired_seeds
from orchestrator.recipe.search import Grid
from orchestrator.recipe.sections import MethodSpec, TaskSpec, TrackingSpec
from orchestrator.recipe.seeds import SeedAxes
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.nights_folder import CANARY, CONFIRM, FRESH, NightFolder

SEED_BITS = 31
T = TypeVar("T")


def canary_of(spec: SweepSpec, folder: NightFolder) -> SweepSpec:
    """Return the recipe of the canary: fixed seeds, each run in a pack of its own.

    The bits of a run depend on the runs of its pack, and packs depend on the size of a cluster. Alone, a run has the
    same bits on every night on which nothing moves. Of several rates the first is trained. InputError for seeds that
    are pairs of two axes.
    """
    return _apart(spec, folder, CANARY, _fixed_seeds(spec), packed=False)


def fresh_of(spec: SweepSpec, folder: NightFolder) -> SweepSpec | None:
    """Return the recipe with the seeds of this night alone; None if the recipe asks for none. InputError as above."""
    seeds = fresh_seeds(spec, folder.name)
    return _apart(spec, folder, FRESH, seeds, packed=True) if seeds else None


def confirm_of(spec: SweepSpec, folder: NightFolder, cells: Collection[tuple[str, str]]) -> SweepSpec:
    """Return the recipe that confirms a candidate, with seeds that no other sweep has. InputError as above.

    ``cells`` are the suspected (task, label of a method): all of their tasks are trained with all of their methods.
    """
    whole = _apart(spec, folder, CONFIRM, confirm_seeds(spec, folder.name), packed=True)
    tasks, methods = {task for task, _ in cells}, {label for _, label in cells}
    few = {
        "tasks": [task for task in whole.tasks if task.name in tasks],
        "methods": [method for method in whole.methods if method.label in methods],
    }
    return whole.model_copy(update=few)


def fresh_seeds(spec: SweepSpec, night: str) -> list[int]:
    """Return the seeds of this night alone, which follow from its name."""
    return _drawn(night, "fresh", spec.nightly.canary.fresh, _listed(spec))


def confirm_seeds(spec: SweepSpec, night: str) -> list[int]:
    """Return the seeds that confirm a candidate of this night, which follow from its name; no baseline has them."""
    taken = {*_listed(spec), *fresh_seeds(spec, night)}
    return _drawn(night, "confirm", spec.nightly.confirm_seeds, taken)


def settings_digest(spec: SweepSpec) -> str:
    """Return 12 hexadecimal digits over all of the canary's recipe that decides its bits, but for base and rows."""
    settings = {
        "format": FORMAT,
        "tasks": [task.name for task in _tasks(spec)],
        "methods": [[method.label, method.decides()] for method in _methods(spec)],
        "optim": spec.optim.model_dump() | {"lr": spec.optim.rates[0]},
        "seeds": _fixed_seeds(spec),
        "dtype": spec.dtype,
        "engine": [spec.trained_by.kind, spec.trained_by.stage, spec.engine.gradient_checkpointing],
        "workers": spec.cluster.workers,
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def with_fixed_order(spec: SweepSpec) -> SweepSpec:
    """Return the recipe with kernels that sum in a fixed order, where workers have GPUs: else no night is like another.

    Also the cluster of a night is opened with it, because a worker's environment says so from its start.
    """
    if not spec.cluster.gpus_per_worker:
        return spec
    return spec.model_copy(update={"engine": spec.engine.model_copy(update={"deterministic": True})})


def _apart(spec: SweepSpec, folder: NightFolder, name: str, seeds: Sequence[int], *, packed: bool) -> SweepSpec:
    """Return the recipe of one of the night's own sweeps: a grid in the night's folder, the night in every run key."""
    methods = _methods(spec)
    return with_fixed_order(spec).model_copy(
        update={
            "name": name,
            "storage": folder.storage,
            "tasks": _tasks(spec),
            "methods": methods,
            "seeds": list(seeds),
            "controls": "none",
            "budget": "none",  # the ranks are chosen already
            "optim": spec.optim.model_copy(update={"lr": spec.optim.rates[0]}),
            "cluster": spec.cluster if packed else spec.cluster.model_copy(update={"pack": 1}),
            "search": Grid(),
            "tracking": TrackingSpec(uri="none"),
            "champions": False,
            "budget_usd": None,
            "renewed": {method.label: folder.name for method in methods},
        }
    )


def _tasks(spec: SweepSpec) -> list[TaskSpec]:
    return _part(spec.tasks, [task.name for task in spec.tasks], spec.nightly.canary.tasks)


def _methods(spec: SweepSpec) -> list[MethodSpec]:
    return _part(spec.methods, [method.label for method in spec.methods], spec.nightly.canary.methods)


def _fixed_seeds(spec: SweepSpec) -> list[int]:
    return _listed(spec)[: spec.nightly.canary.seeds]


def _listed(spec: SweepSpec) -> list[int]:
    if isinstance(spec.seeds, SeedAxes):
        raise InputError(f"seeds: {paired_seeds()}")
    return list(spec.seeds)


def _part(entries: Sequence[T], names: Sequence[str], wanted: int | list[str]) -> list[T]:
    """Return the first entries, or the entries that are wanted by name, in the recipe's order."""
    if isinstance(wanted, int):
        return list(entries[:wanted])
    return [entry for entry, name in zip(entries, names, strict=True) if name in wanted]


def _drawn(night: str, purpose: str, number: int, taken: Collection[int]) -> list[int]:
    """Return seeds below 2**31, drawn from night and purpose alone; no drawn seed is one of the seeds ``taken``."""
    seeds: list[int] = []
    index = 0
    while len(seeds) < number:
        digest = hashlib.sha256(f"{night}:{purpose}:{index}".encode()).digest()
        seed = int.from_bytes(digest[:4], "big") >> (32 - SEED_BITS)
        if seed not in taken and seed not in seeds:
            seeds.append(seed)
        index += 1
    return seeds
