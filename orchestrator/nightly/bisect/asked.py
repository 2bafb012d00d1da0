"""What a person asks of a bisection: which candidates, and of which cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.errors import InputError
from orchestrator.recipe.spec import SweepSpec
from orchestrator.verdict.night import Cell


@dataclass(frozen=True)
class Asked:
    """One of three kinds of candidates, from good to bad: ``commits`` (``GOOD..BAD``), ``pythons``, or ``settings``.

    ``pythons`` are interpreters of environments; ``settings`` are settings of the cell's method, each a mapping.
    ``cell`` is ``TASK/METHOD``; None: the culprit of the newest night that has one.
    """

    commits: str | None = None
    pythons: tuple[str, ...] = ()
    settings: tuple[dict[str, Any], ...] = ()
    cell: str | None = None

    def checked(self) -> Asked:
        """Return this; InputError unless it is one kind, of two candidates or more."""
        given = [name for name in ("commits", "pythons", "settings") if getattr(self, name)]
        if len(given) != 1:
            raise InputError("Give one of --bisect GOOD..BAD, --python GOOD ... BAD and --settings GOOD ... BAD.")
        for name, option in (("pythons", "--python"), ("settings", "--settings")):
            if name in given and len(getattr(self, name)) < 2:
                raise InputError(f"{option} needs two or more, from good to bad: the first one is known to be good.")
        return self


def cell_named(name: str, spec: SweepSpec) -> Cell:
    """Return the cell ``TASK/METHOD`` of a recipe; InputError if the recipe has no such cell.

    The label of a method may have slashes; the name of a task has none.
    """
    task, slash, method = name.partition("/")
    tasks, methods = [each.name for each in spec.tasks], [each.label for each in spec.methods]
    if not slash or task not in tasks or method not in methods:
        raise InputError(
            f"--cell {name}: the recipe has no such cell. A cell is TASK/METHOD; tasks: {', '.join(tasks)}; methods: "
            f"{', '.join(methods)}."
        )
    return task, method
