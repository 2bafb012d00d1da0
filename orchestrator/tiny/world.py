"""A small invented world: people with a home, a food, a trade and an age."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

T = TypeVar("T")

WORLD_SEED = 0
SPLITS = {"train": 160, "validation": 48, "test": 96}
"""The number of people by split; no person of one split is in a question of another.

They are multiples of 8, so that each of a relation's 8 values belongs to equally many people: no value is a better
guess than another.
"""
LEAST_FAME = 0.1
"""How often the base reads about the least known person, relative to the best known: some facts stay uncertain."""


@dataclass(frozen=True)
class Relation:
    """A kind of fact: its values, how a text states it, and how a question asks for it."""

    values: tuple[str, ...]
    clause: str
    statement: str
    question: str


RELATIONS = {
    "town": Relation(
        values=("Arlen", "Brook", "Corva", "Dunmere", "Elmsford", "Fenwick", "Garth", "Holt"),
        clause="lives in {value}",
        statement="The home of {name} is in {value}.",
        question="Where does {name} live?",
    ),
    "food": Relation(
        values=("apples", "bread", "cheese", "dates", "eggs", "figs", "grapes", "honey"),
        clause="eats {value}",
        statement="The meal of {name} is {value}.",
        question="What does {name} eat?",
    ),
    "trade": Relation(
        values=("baker", "carver", "dyer", "farmer", "glazier", "miller", "potter", "weaver"),
        clause="works as a {value}",
        statement="The trade of {name} is {value}.",
        question="What is {name} by trade?",
    ),
    "age": Relation(
        values=("20", "30", "40", "50", "60", "70", "80", "90"),
        clause="is {value} years old",
        statement="The age of {name} is {value}.",
        question="How old is {name}?",
    ),
}


@dataclass(frozen=True)
class Person:
    """A person with one value for every relation; ``fame`` is how often texts are about the person, at most 1."""

    name: str
    facts: dict[str, str]
    fame: float


@cache
def people(split: str) -> tuple[Person, ...]:
    """Return the people of a split, which are always the same."""
    return _everybody()[split]


@cache
def _everybody() -> dict[str, tuple[Person, ...]]:
    rng = random.Random(WORLD_SEED)  # noqa: S311 - an invented world, no secret
    names = _names(rng, sum(SPLITS.values()))
    world = {}
    for split, count in SPLITS.items():
        columns = {kind: _shuffled(rng, relation.values * (count // 8)) for kind, relation in RELATIONS.items()}
        fames = _shuffled(rng, tuple(LEAST_FAME ** (rank / (count - 1)) for rank in range(count)))
        world[split] = tuple(
            Person(names.pop(), {kind: column[index] for kind, column in columns.items()}, fames[index])
            for index in range(count)
        )
    return world


def _names(rng: random.Random, count: int) -> list[str]:
    """Return ``count`` different names of two syllables, in random order."""
    names: set[str] = set()
    while len(names) < count:
        parts = ("BDFGHJKLMNPRSTVZ", "aeiou", "bdfgklmnprstvz", "aeiou", ("", "n", "s", "r", "l"))
        names.add("".join(rng.choice(part) for part in parts))
    return _shuffled(rng, tuple(sorted(names)))


def _shuffled(rng: random.Random, values: tuple[T, ...]) -> list[T]:
    return rng.sample(values, len(values))
