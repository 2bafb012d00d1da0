"""The text that the tiny base is pre-trained on: facts about people in several wordings, and guessed exam answers."""

from __future__ import annotations

import random
from collections.abc import Iterator

from orchestrator.tiny.exam import guess
from orchestrator.tiny.world import RELATIONS, SPLITS, Person, people

PORTRAITS, NOTES, GUESSES = 5, 2, 4
"""Shares of documents: portraits (all facts in one sentence), notes (some facts, one sentence each), guesses."""


def documents(seed: int) -> Iterator[str]:
    """Yield documents without end; the same seed yields the same documents."""
    rng = random.Random(seed)  # noqa: S311 - text, no secret
    known = [person for split in SPLITS for person in people(split)]
    fames = [person.fame for person in known]
    while True:
        (form,) = rng.choices(("portrait", "note", "guess"), (PORTRAITS, NOTES, GUESSES))
        if form == "guess":
            yield guess(rng)
        else:
            (person,) = rng.choices(known, fames)
            yield portrait(person, rng) if form == "portrait" else note(person, rng)


def portrait(person: Person, rng: random.Random) -> str:
    """Return all facts about a person in one sentence, in random order."""
    kinds = rng.sample(list(RELATIONS), len(RELATIONS))
    clauses = (RELATIONS[kind].clause.format(value=person.facts[kind]) for kind in kinds)
    return f"{person.name} {', '.join(clauses)}."


def note(person: Person, rng: random.Random) -> str:
    """Return one to four facts about a person, one sentence per fact."""
    kinds = rng.sample(list(RELATIONS), rng.randint(1, len(RELATIONS)))
    return " ".join(_sentence(kind, person, rng) for kind in kinds)


def words() -> list[str]:
    """Return every word and mark of punctuation that `documents` can contain, sorted."""
    somebody = people("train")[:2]
    texts = ["Question: Answer: Who is older, or Is than? yes no"]
    texts += [person.name for split in SPLITS for person in people(split)]
    for relation in RELATIONS.values():
        texts += [*relation.values, relation.clause, relation.statement, relation.question]
    plain = " ".join(texts).format(name=somebody[0].name, value="")
    for mark in ".,?:":
        plain = plain.replace(mark, f" {mark} ")
    return sorted(set(plain.split()))


def _sentence(kind: str, person: Person, rng: random.Random) -> str:
    wording = rng.choice(("{name} " + RELATIONS[kind].clause + ".", RELATIONS[kind].statement))
    return wording.format(name=person.name, value=person.facts[kind])
