"""Pure: the commands that a night gives to people: the night and the sweep again, a cell, the change, the champion."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from typing import Any

from orchestrator.nightly.canary import canary_of
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.nights_folder import NightFolder
from orchestrator.verdict.culprit import commits_of
from orchestrator.verdict.night import Cell
from orchestrator.verdict.verdict import Change

NIGHTLY_ONLY = ("night",)
"""Words of ``jobs/nightly.py`` that are no keys of a recipe."""


def repeat_command(command: str, spec: SweepSpec, night: NightFolder, cell: Cell) -> str:
    """Return the command that trains a cell of the canary anew, as the night did: same seeds, each in its own pack.

    ``command`` is the night's command. The new sweep has a name of its own, so it trains, and writes over nothing.
    """
    canary = canary_of(spec, night)
    task = next(task for task in canary.tasks if task.name == cell[0])
    method = next(method for method in canary.methods if method.label == cell[1])
    entry = {"name": method.name, **method.settings, "targets": method.targets, "label": method.label}
    values: dict[str, Any] = {
        "name": f"again-{night.name}-{hashlib.sha256('/'.join(cell).encode()).hexdigest()[:8]}",
        "tasks": [task.model_dump(exclude_defaults=True)],
        "methods": [entry],
        "seeds": canary.seeds,
        "controls": "none",
        "budget": "none",
        "optim.lr": canary.optim.lr,
        "search": {"kind": "grid"},
        "cluster.pack": 1,
        "tracking.uri": "none",
        "champions": False,
        "budget_usd": None,
    }
    words = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items()]
    kept = [word for word in _words(command, "sweep") if word.partition("=")[0] not in values]
    return shlex.join([*kept, *words])


def night_command(command: str, night: str) -> str:
    """Return the command of this night; of a night that is over it prints the verdict again."""
    return shlex.join([*_words(command, "nightly"), f"night={night}"])


def sweep_command(command: str) -> str:
    """Return the command of the whole sweep."""
    return shlex.join(_words(command, "sweep"))


def accept_command(command: str, spec: SweepSpec, night: str) -> str:
    """Return the command of the next nights, if the level of this night is to be their baseline from now on.

    The word may also stand in the recipe, which keeps who accepted it.
    """
    words = [word for word in _words(command, "nightly") if not word.startswith("nightly.accepted=")]
    accepted = sorted({*spec.nightly.accepted, night})
    return shlex.join([*words, f"nightly.accepted=[{', '.join(accepted)}]"])


def bisect_command(command: str, cell: Cell, changed: Sequence[Change]) -> str | None:
    """Return the command that looks for the first bad change; None if nothing that changed can be bisected.

    Commits come first: they are at hand. For versions people have to make the two environments.
    """
    words = [*_words(command, "nightly"), "--cell", "/".join(cell)]
    commits = commits_of(changed)
    if commits:
        return shlex.join([*words, "--bisect", "..".join(commit[:12] for commit in commits)])
    versions = [change for change in changed if change.what == "version" and change.before and change.after]
    if versions:
        before, after = (
            "ENV-" + "-".join(f"{change.name}-{getattr(change, side)}" for change in versions) + "/bin/python"
            for side in ("before", "after")
        )
        return shlex.join([*words, "--python", before, after])
    return None


def roll_back_command(command: str, task: str) -> str:
    """Return the command that brings back the champion before the champion of a task."""
    return shlex.join([*_words(command, "roll_back"), f"task={task}"])


def _words(command: str, job: str) -> list[str]:
    """Return the words of a night's command for another job: without the options and the words of nights alone."""
    python, script, *words = shlex.split(command)
    values = [word for word in words if "=" in word and not word.startswith("-")]
    recipe = next(word for word in words if "=" not in word and not word.startswith("-"))
    kept = [word for word in values if word.partition("=")[0] not in NIGHTLY_ONLY]
    return [python, script.replace("nightly.py", f"{job}.py"), recipe, *kept]
