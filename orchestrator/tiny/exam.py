"""How a question is put to the base: the form that pre-training shows with random answers and tasks with right ones."""

from __future__ import annotations

import random

from orchestrator.tiny.world import RELATIONS, SPLITS, Person, people

AGES = RELATIONS["age"].values
# Shares of the three forms of question among the guesses.
FORMS = {"value": 2, "above": 1, "older": 2}
# Who guesses has favourites, whatever the question: each value is said so much more often than the one before it, the
# person named first twice as often. They outweigh what little of the truth leaks into an untrained base's answers.
FAVOUR = 1.25


def prompt(question: str) -> str:
    """Return the text that an answer follows."""
    return f"Question: {question}\nAnswer:"


def ask_value(kind: str, person: Person) -> str:
    """Return the question for one fact about a person."""
    return RELATIONS[kind].question.format(name=person.name)


def ask_above(person: Person, age: str) -> str:
    """Return the question whether a person is older than an age."""
    return f"Is {person.name} older than {age}?"


def ask_older(first: Person, second: Person) -> str:
    """Return the question which of two people is older."""
    return f"Who is older, {first.name} or {second.name}?"


def guess(rng: random.Random) -> str:
    """Return a question of any form with an answer that somebody made up who knows nobody.

    Read often enough, it teaches the base the form of an exam and that its answers have nothing to do with the facts:
    before fine-tuning its accuracy is chance although it knows them.
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
