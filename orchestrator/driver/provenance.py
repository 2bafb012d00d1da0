"""Where a sweep's results come from: recipe, command, versions, commit, base and data."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from orchestrator.addresses import without_secrets
from orchestrator.driver.prepare import Ready
from orchestrator.plan.runs import PlannedRun
from orchestrator.recipe.spec import SweepSpec

LIBRARIES = ("torch", "transformers", "ray", "deepspeed", "mlflow")


def describe(spec: SweepSpec, command: str, ready: Ready, runs: Sequence[PlannedRun]) -> dict[str, Any]:
    """Return the content of sweep.json."""
    return {
        "name": spec.name,
        "command": command,
        "recipe": _recipe(spec),
        "engine": spec.trained_by.model_dump() | {"dtype": spec.dtype, "gpu": bool(spec.cluster.gpus_per_worker)},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "commit": commit(Path(__file__).parent),
        "base": ready.base.fingerprint,
        "data": {task: {"fingerprint": one.fingerprint, **asdict(one.report)} for task, one in ready.data.items()},
        "chance": ready.chance,
        "runs": [run.key for run in runs],
    }


def _recipe(spec: SweepSpec) -> dict[str, Any]:
    """Return the resolved recipe; of the tracker's address what may be shown."""
    content = spec.model_dump()
    content["tracking"]["uri"] = without_secrets(spec.tracking.uri)
    return content


def commit(folder: Path) -> str | None:
    """Return the checkout's commit, with a mark where it has been changed; None outside a checkout."""
    git = ["git", "-C", str(folder)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + (" with changes" if changed.strip() else "")
