"""The form of an exam question, which pre-training shows with random answers and the tasks with right answers."""

from __future__ import annotations

import random

from orchestrator.tiny.world import RELATIONS, SPLITS, Person, people

AGES = RELATIONS["age"].values
FORMS = {"value": 2, "above": 1, "older": 2}
"""Shares of the three forms of question among the guesses."""
FAVOUR = 1.25
"""How much more often a value is guessed than the value before it, whatever the question.

The person named first is guessed twice as often. These preferences outweigh the facts in the answers of the base before
fine-tuning.
"""


def prompt(question: str) -> str:
    """Return the text that an answer follows."""
    return f"Question: {question}\nAnswer:"


def ask_value(kind: str, person: Person) -> str:
    """Return the question that asks for one fact about a person."""
    return RELATIONS[kind].question.format(name=person.name)


def ask_above(person: Person, age: str) -> str:
    """Return the question that asks whether a person is older than an age."""
    return f"Is {person.name} older than {age}?"


def ask_older(first: Person, second: Person) -> str:
    """Return the question that asks which of two people is older."""
    return f"Who is older, {first.name} or {second.name}?"


def guess(rng: random.Random) -> str:
    """Return a question of any form with a random answer, which does not depend on the facts.

    Many such documents teach the base the form of an exam, and that answers are unrelated to the facts. So before
    fine-tuning its accuracy is that of chance, although it knows the facts.
    """
    (form,) = rng.choices(list(FORMS), list(FORMS.values()))
    first, second = rng.sample([person for split in SPLITS for person in people(split)], 2)
    if form == "older":
        (answer,) = rng.choices((first.name, second.name), (2, 1))
        return f"{prompt(ask_older(first, second))} {answer}"
    if form == "above":
        (answer,) = rng.choices(("yes", "no"), (2, 1))
        return f"{prompt(ask_above(first, rng.choice(AGES[:-1])))} {answer}"
    kind = rng.choice(list(RELATIONS))
    values = RELATIONS[kind].values
    (answer,) = rng.choices(values, [FAVOUR**rank for rank in range(len(values))])
    return f"{prompt(ask_value(kind, first))} {answer}"
