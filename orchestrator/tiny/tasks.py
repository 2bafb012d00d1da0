"""Three generated tasks about the invented world; the base knows the facts but answers at random before tuning."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.tiny.exam import AGES, ask_above, ask_older, ask_value, prompt
from orchestrator.tiny.world import RELATIONS, Person, people

Row = dict[str, Any]
PAIRS = {"train": 640, "validation": 192, "test": 384}
"""The number of questions about pairs of people, by split. Other tasks ask once for every fact."""


@dataclass(frozen=True)
class TinyTask:
    """A generated task: ``rows(split)`` of train, validation and test; ``fingerprint`` is the sha256 over all rows."""

    rows: Callable[[str], list[Row]]
    fingerprint: str


def recall_rows(split: str) -> list[Row]:
    """Return a four-choice question for every fact about the people of a split."""
    rng = _rng("recall", split)
    rows = []
    for index, (kind, person) in enumerate(_facts(split, rng)):
        right = person.facts[kind]
        choices = rng.sample(_others(kind, right), 3)
        choices.insert(index % 4, right)
        rows.append({"question": ask_value(kind, person), "choices": choices, "answer": index % 4})
    return rows


def above_rows(split: str) -> list[Row]:
    """Return yes-or-no questions that ask whether a person is older than an age, per age as many yes as no."""
    rng = _rng("above", split)
    rows = []
    for age in AGES[:-1]:
        above = [person for person in people(split) if person.facts["age"] > age]
        below = [person for person in people(split) if person.facts["age"] <= age]
        count = min(len(above), len(below))
        for answer, fitting in enumerate((above, below)):
            asked = rng.sample(fitting, count)
            rows += [
                {"question": ask_above(person, age), "choices": ["yes", "no"], "answer": answer} for person in asked
            ]
    return rng.sample(rows, len(rows))


def older_rows(split: str) -> list[Row]:
    """Return two-choice questions that ask which of two people of a split is older, which takes two facts."""
    rng = _rng("older", split)
    rows: list[Row] = []
    asked: set[frozenset[str]] = set()
    while len(rows) < PAIRS[split]:
        pair = rng.sample(people(split), 2)
        names = frozenset(person.name for person in pair)
        younger, older = sorted(pair, key=lambda person: int(person.facts["age"]))
        if younger.facts["age"] == older.facts["age"] or names in asked:
            continue
        asked.add(names)
        answer = len(rows) % 2
        first, second = (younger, older) if answer else (older, younger)
        rows.append({"question": ask_older(first, second), "choices": [first.name, second.name], "answer": answer})
    return rows


def _facts(split: str, rng: random.Random) -> list[tuple[str, Person]]:
    facts = [(kind, person) for kind in RELATIONS for person in people(split)]
    return rng.sample(facts, len(facts))


def _others(kind: str, right: str) -> list[str]:
    return [value for value in RELATIONS[kind].values if value != right]


def _rng(task: str, split: str) -> random.Random:
    return random.Random(f"{task}/{split}")  # noqa: S311 - questions, no secret


def _asked(row: Row) -> list[Any]:
    """Return everything that the model reads of a row, for the fingerprint."""
    return [prompt(row["question"]), row["choices"], row["answer"]]


def _task(rows: Callable[[str], list[Row]]) -> TinyTask:
    content = json.dumps([_asked(row) for split in PAIRS for row in rows(split)])
    return TinyTask(rows, hashlib.sha256(content.encode()).hexdigest())


TINY_TASKS: dict[str, TinyTask] = {
    "tiny_above": _task(above_rows),
    "tiny_older": _task(older_rows),
    "tiny_recall": _task(recall_rows),
}
