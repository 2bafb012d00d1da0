"""Where a sweep's results come from: recipe, command, versions, git commit, base and data."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from orchestrator.addresses import without_secrets
from orchestrator.driver.prepare import ReadySweep
from orchestrator.files import write_json
from orchestrator.machine.code import commit
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.sweep_folder import SweepFolder

LIBRARIES = ("torch", "transformers", "ray", "deepspeed", "mlflow")


def write_provenance(folder: SweepFolder, ready: ReadySweep, command: str, *, replace: bool) -> None:
    """Write sweep.json if the file is missing or ``replace`` is true.

    A merge does not replace the file, because the command in it is the command that makes the sweep again.
    """
    if replace or not folder.sweep.exists():
        write_json(folder.sweep, provenance(ready, command))


def provenance(ready: ReadySweep, command: str) -> dict[str, Any]:
    """Return the content of sweep.json."""
    spec = ready.spec
    return {
        "name": spec.name,
        "command": command,
        "recipe": _recipe(spec),
        "engine": spec.trained_by.model_dump() | {"dtype": spec.dtype, "gpu": bool(spec.cluster.gpus_per_worker)},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "commit": commit(Path(__file__).parent),
        "base": ready.base.fingerprint,
        "data": {task: {"fingerprint": data.fingerprint, **asdict(data.report)} for task, data in ready.data.items()},
        "chance": dict(ready.chance),
        "runs": [run.key for run in ready.runs],
    }


def _recipe(spec: SweepSpec) -> dict[str, Any]:
    """Return the resolved recipe, with the tracker's address without secrets."""
    content = spec.model_dump()
    content["tracking"]["uri"] = without_secrets(spec.tracking.uri)
    return content
