"""The registered tasks by name; a name or an entry of a recipe becomes a `Task` here."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Unpack

from d2lora.names import unknown
from orchestrator.data.sources import GeneratedSource
from orchestrator.data.task import Task
from orchestrator.data.tasks import (
    arc_challenge,
    arc_easy,
    boolq,
    commonsense_qa,
    hellaswag,
    openbookqa,
    race,
    tiny,
    winogrande,
)
from orchestrator.data.tasks.own import ColumnKeys, Columns, own_task
from orchestrator.errors import InputError
from orchestrator.paths import readable
from orchestrator.tiny.tasks import TINY_TASKS

TASKS: dict[str, ModuleType] = {
    "arc_challenge": arc_challenge,
    "arc_easy": arc_easy,
    "boolq": boolq,
    "commonsense_qa": commonsense_qa,
    "hellaswag": hellaswag,
    "openbookqa": openbookqa,
    "race": race,
    "winogrande": winogrande,
}
"""The published benchmarks: each module has a `SOURCE` (see `orchestrator.data.sources`) and ``example(row)``."""


def available_tasks() -> list[str]:
    """Return the names of the registered tasks."""
    return sorted([*TASKS, *TINY_TASKS])


def get_task(name: str) -> Task:
    """Return a registered task; InputError, with the nearest name, for an unknown name."""
    if name in TINY_TASKS:
        source = GeneratedSource(TINY_TASKS[name].rows, TINY_TASKS[name].fingerprint)
        return Task(name, source, tiny.example, source.train, source.test)
    if name not in TASKS:
        raise InputError(unknown("task", name, available_tasks()))
    module = TASKS[name]
    return Task(name, module.SOURCE, module.example, module.SOURCE.train, module.SOURCE.test)


def make_task(
    name: str,
    *,
    path: str | Path | None = None,
    train: str | None = None,
    test: str | None = None,
    **keys: Unpack[ColumnKeys],
) -> Task:
    """Return the task of a recipe's entry, whose keys are the arguments.

    An entry without a ``path`` is a registered task, perhaps on other splits: ``{name: commonsense_qa, train:
    "validation[:800]", test: "validation[800:]"}``. With a ``path`` the entry is your own file: ``{name: mine, path:
    mine.jsonl, question: q, choices: options, answer: label, test: held_out.jsonl}``. There ``test`` is a file too, the
    keys ``question``, ``choices`` and ``answer`` name columns, ``choices`` may be a list of columns, and ``answer_base:
    1`` says that answers count from 1. InputError for an unknown name, or keys that do not go together.
    """
    columns = Columns.of(keys)
    if path is None:
        if columns != Columns():
            raise InputError(
                f"Task {name!r}: column names are for a file of your own; give its path, or leave them out."
            )
        return get_task(name).with_splits(train, test)
    if name in available_tasks():
        raise InputError(f"Task name {name!r} is a benchmark's; give your own file {path} another name.")
    return own_task(name, readable(path), columns, None if test is None else readable(test)).with_splits(train)
