"""Pure: the commands that a night's page names: the night again, the sweep, one cell again, a bad state accepted."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.recipe.sections import MethodSpec, TaskSpec
from orchestrator.recipe.spec import SweepSpec

SWEEP, NIGHTLY, ROLL_BACK = "jobs/sweep.py", "jobs/nightly.py", "jobs/roll_back.py"
PLACED = ("tasks", "methods", "seeds", "name", "controls", "budget", "optim.lr", "search", "champions", "cluster.pack")
"""The keys that the command of one cell sets; the same keys on the night's command line are left out of it."""


def sweep_command(command: str) -> str:
    """Return the command of the whole sweep, from the night's command line."""
    return _joined(SWEEP, _words(command))


def night_command(command: str, night: str) -> str:
    """Return the command of this night; of a night that is over it prints the verdict again."""
    return _joined(NIGHTLY, [*_words(command), f"night={night}"])


def accept_command(command: str, spec: SweepSpec, night: str) -> str:
    """Return the command of the next nights, if the level of this night is to be their baseline from now on.

    The word may also stand in the recipe, which keeps who accepted it.
    """
    words = [word for word in _words(command) if not word.startswith("nightly.accepted=")]
    accepted = sorted({*spec.nightly.accepted, night})
    return _joined(NIGHTLY, [*words, f"nightly.accepted=[{', '.join(accepted)}]"])


def roll_back_command(command: str, task: str) -> str:
    """Return the command that takes a task's champion back to the one before it."""
    return _joined(ROLL_BACK, [*_words(command), f"task={task}"])


def cell_command(command: str, spec: SweepSpec, canary: SweepSpec, cell: tuple[str, str], night: str) -> str:
    """Return the command that trains one cell of the canary again, apart from the nights, to the same bits.

    ``spec`` is the whole sweep, ``canary`` the recipe of its canary.
    """
    task = next(task for task in spec.tasks if task.name == cell[0])
    method = next(method for method in spec.methods if method.label == cell[1])
    words = [word for word in _words(command) if not _is_placed(word)]
    words += [
        f"name=again-{night}",
        f"tasks={_json([_task(task)])}",
        f"methods={_json([_method(method)])}",
        f"seeds={_json(canary.seeds)}",
        f"optim.lr={_json(canary.optim.lr)}",
        "search.kind=grid",
        "controls=none",
        "budget=none",
        "champions=false",
        "cluster.pack=1",
    ]
    return _joined(SWEEP, words)


def _words(command: str) -> list[str]:
    """Return the recipe and the overrides of a night's command line, without the night itself and without options."""
    words = shlex.split(command)[2:]  # python jobs/nightly.py
    recipe = [word for word in words if not word.startswith("-") and "=" not in word]
    return [*recipe[:1], *(word for word in words if "=" in word and not word.startswith(("-", "night=")))]


def _is_placed(word: str) -> bool:
    key = word.partition("=")[0]
    return "=" in word and any(key == placed or key.startswith(f"{placed}.") for placed in PLACED)


def _joined(job: str, words: Sequence[str]) -> str:
    return shlex.join(["python", job, *words])


def _json(value: Any) -> str:
    return json.dumps(value)


def _task(task: TaskSpec) -> str | dict[str, Any]:
    """Return a task as a recipe names it."""
    given = task.model_dump(exclude_defaults=True)
    return task.name if given.keys() == {"name"} else given


def _method(method: MethodSpec) -> Mapping[str, Any]:
    """Return a method as a recipe names it, with every setting, so that it is the same whatever defaults become."""
    return {"name": method.name, "label": method.label, "targets": method.targets, **method.settings}
