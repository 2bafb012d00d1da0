"""Pure: what is shown of a run and of a method, in a tracker's terms: names, tags, parameters and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.plan import PlannedRun

SCORES = ("accuracy", "accuracy_norm", "validation_accuracy", "eval_loss", "train_loss_volatility", "train_seconds")
STATISTICS = ("mean", "sd", "worst", "n", "diverged", "failed", "volatility", "base_accuracy", "validation_mean", "lr")


def title(run: PlannedRun) -> str:
    """Return a run's name: what differs comes first, for the column is narrow."""
    spec = run.spec
    return f"seed {spec.seed} · lr {spec.lr:g} · {spec.method.label} · {spec.task.name}"


def tags(run: PlannedRun) -> dict[str, str]:
    """Return the tags by which a run is found again."""
    spec = run.spec
    names = {"kind": "run", "run_key": run.key, "task": spec.task.name, "method": spec.method.label}
    return names | {"seed": str(spec.seed), "lr": repr(spec.lr), "model": spec.model.source}


def params(run: PlannedRun) -> dict[str, str]:
    """Return a run's parameters: what its key covers, for MLflow refuses one that changes."""
    spec = run.spec
    values = {"task": spec.task.name, "method": spec.method.name, "lr": spec.lr, "seed": spec.seed}
    values |= {f"method.{name}": value for name, value in spec.method.settings.items()}
    values |= {"targets": spec.method.targets, "dtype": spec.model.dtype}
    values |= {f"optim.{name}": value for name, value in spec.optim.model_dump(exclude={"lr", "micro_batch"}).items()}
    return {name: str(value) for name, value in values.items()}


def step_values(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of one step."""
    return {name: float(value) for name, value in row.items() if name not in ("step", "time")}


def scores(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a run that has ended, as far as it has them."""
    found = {name: float(row[name]) for name in SCORES if row.get(name) is not None}
    measured = (row.get("diagnostics") or {}).items()
    return found | {f"diagnostics/{name}": float(value) for name, value in measured if name != "skipped"}


def statistics(one: Mapping[str, Any]) -> dict[str, float]:
    """Return a method's statistics as metrics that MLflow's compare and search views can use."""
    found = {f"{name}_accuracy" if name in ("mean", "sd", "worst") else name: one.get(name) for name in STATISTICS}
    low, high = one.get("interval") or (None, None)
    found |= {"interval_low": low, "interval_high": high}
    return {name: float(value) for name, value in found.items() if value is not None}
