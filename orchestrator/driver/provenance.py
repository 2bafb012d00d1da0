"""Where a sweep's results come from: recipe, command, versions, git commit, base and data."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from orchestrator.addresses import without_secrets
from orchestrator.driver.prepare import ReadySweep
from orchestrator.errors import InputError
from orchestrator.files import read_json, write_json
from orchestrator.machine.code import own_commit
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.sweep_folder import SweepFolder

LIBRARIES = ("torch", "transformers", "ray", "deepspeed", "mlflow")


def write_provenance(folder: SweepFolder, ready: ReadySweep, command: str, *, replace: bool) -> None:
    """Write sweep.json if the file is missing or ``replace`` is true.

    A merge does not replace the file, because the command in it is the command that makes the sweep again.
    """
    if replace or not folder.sweep.exists():
        write_json(folder.sweep, provenance(ready, command))


def refuse_moved_base(folder: SweepFolder, ready: ReadySweep) -> None:
    """Refuse a base of the hub that is another commit than the one that this sweep began with: InputError.

    With other weights every run would have another key and be trained anew, beside the results that are there. Another
    name or ``model.revision`` in the recipe is a choice, and is taken.
    """
    before = read_json(folder.sweep)
    if not isinstance(before, dict) or not isinstance(before.get("recipe"), dict):
        return
    known, now = before.get("base_commit"), ready.base.commit
    model = ready.spec.model
    same = before["recipe"].get("model", {})
    chosen = (model.name, model.path, model.revision) != (same.get("name"), same.get("path"), same.get("revision"))
    if known is not None and now is not None and known != now and not chosen:
        at = "main" if model.revision is None else model.revision
        raise InputError(
            f"{folder.sweep}: this sweep began with {model.name} at commit {known}, and {at} is now {now}: every run "
            f"would be trained anew. Give model.revision={known} to go on with it, or another name for a new sweep."
        )


def provenance(ready: ReadySweep, command: str) -> dict[str, Any]:
    """Return the content of sweep.json."""
    spec = ready.spec
    return {
        "name": spec.name,
        "command": command,
        "recipe": _recipe(spec),
        "engine": spec.trained_by.model_dump() | {"dtype": spec.dtype, "gpu": bool(spec.cluster.gpus_per_worker)},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "commit": own_commit(),
        "base": ready.base.fingerprint,
        "base_commit": ready.base.commit,
        "data": {task: {"fingerprint": data.fingerprint, **asdict(data.report)} for task, data in ready.data.items()},
        "chance": dict(ready.chance),
        "runs": [run.key for run in ready.runs],
    }


def _recipe(spec: SweepSpec) -> dict[str, Any]:
    """Return the resolved recipe, with the tracker's address without secrets."""
    content = spec.model_dump()
    content["tracking"]["uri"] = without_secrets(spec.tracking.uri)
    return content
