"""Examples of a task, cut into train, validation and test without one occurring on both sides."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.data.bad_rows import BadRow, Tally, refuse, tally
from orchestrator.data.example import Example, RowError
from orchestrator.data.sources import Task
from orchestrator.errors import InputError

VALIDATION_SHARE = 0.1
VALIDATION_LIMIT = 500
VALIDATION_LEAST = 50  # fewer cannot tell methods apart; more than a tenth of what is trained on costs too much


@dataclass(frozen=True)
class SplitReport:
    """How many rows there were, what was left out and why, and what is used.

    In ``indistinct`` questions of these two choices are the same to the tokenizer; known when they are tokens.
    """

    read_train: int
    read_test: int
    duplicates: int
    leaked: int
    skipped: int
    train: int
    validation: int
    test: int
    indistinct: int = 0


@dataclass(frozen=True)
class Splits:
    """The examples of one task by split, in the order of their files, and where each one stands.

    ``own`` examples are of your own file; ``skip_bad_rows`` says what happens to those that a tokenizer cannot take.
    ``read`` tells of each file how many rows were read for them, and how many of those were bad.
    """

    task: str
    train: list[Example]
    validation: list[Example]
    test: list[Example]
    places: dict[str, list[str]]
    report: SplitReport
    own: bool = False
    skip_bad_rows: bool = False
    read: Mapping[str, Tally] = field(default_factory=dict)

    def by_name(self) -> dict[str, list[Example]]:
        """Return the three lists by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def split_examples(
    task: Task,
    *,
    mirror: Path | None = None,
    train_samples: int | None = None,
    validation_samples: int | None = None,
    eval_samples: int | None = None,
    split_seed: int = 0,
    skip_bad_rows: bool = False,
) -> Splits:
    """Read a task and return its splits: the same for every method, seed and machine.

    Rows of the train split that repeat an earlier one, or that occur in the test, are left out and counted. Validation
    is cut from what remains: ``validation_samples`` rows, by default a tenth, no more
    than 500 and than the larger of 50 and a tenth of ``train_samples``. ``train_samples`` and
    ``eval_samples`` are the most rows to train and test on. Every choice of rows follows a hash of ``split_seed`` and
    the row's content: not the head of the file, the same whatever the order of its lines, and a smaller
    ``train_samples`` takes a part of what a larger one takes. A row that is no question is an error, unless
    ``skip_bad_rows``: then it is left out and counted, if few are (`orchestrator.data.bad_rows.refuse`).
    """
    _check_counts(train_samples=train_samples, validation_samples=validation_samples, eval_samples=eval_samples)
    (test, pool), read = _read(task, mirror, skip_bad_rows)
    unique, duplicates = pool.without_repeats()
    clean, leaked = unique.without(test)
    history = f"{len(pool)} read, {duplicates} repeated, {leaked} also in test"
    held_out = _validation_size(task, clean, validation_samples or _default_size(len(clean), train_samples), history)
    ranked = clean.ranked(split_seed)
    validation = clean.take(ranked[len(ranked) - held_out :])
    train = clean.take(ranked[: len(ranked) - held_out][:train_samples])
    chosen = test.take(test.ranked(split_seed)[:eval_samples])
    sizes = (len(train), len(validation), len(chosen))
    skipped = sum(each.bad for each in read.values())
    report = SplitReport(len(pool), len(test), duplicates, leaked, skipped, *sizes)
    places = {"train": train.places, "validation": validation.places, "test": chosen.places}
    lists = (train.examples, validation.examples, chosen.examples)
    return Splits(task.name, *lists, places, report, task.own, skip_bad_rows, read)


def identity(example: Example) -> str:
    """Return a hash of what is asked, blind to case, white space and the order of the choices."""
    prompt, *choices = (" ".join(part.casefold().split()) for part in (example.prompt, *example.choices))
    return hashlib.sha256("\x1f".join((prompt, *sorted(choices))).encode()).hexdigest()


@dataclass(frozen=True)
class _Pool:
    """Examples of one split with their places and identities, one list each."""

    places: list[str]
    examples: list[Example]
    identities: list[str]

    @classmethod
    def of(cls, placed: Sequence[tuple[str, Example]]) -> _Pool:
        examples = [example for _, example in placed]
        return cls([place for place, _ in placed], examples, [identity(example) for example in examples])

    def __len__(self) -> int:
        return len(self.examples)

    def take(self, indices: Sequence[int]) -> _Pool:
        kept = sorted(indices)
        places, examples = [self.places[i] for i in kept], [self.examples[i] for i in kept]
        return _Pool(places, examples, [self.identities[i] for i in kept])

    def without_repeats(self) -> tuple[_Pool, int]:
        first = {name: index for index, name in reversed(list(enumerate(self.identities)))}
        return self.take(list(first.values())), len(self) - len(first)

    def without(self, other: _Pool) -> tuple[_Pool, int]:
        foreign = set(other.identities)
        kept = [index for index, name in enumerate(self.identities) if name not in foreign]
        return self.take(kept), len(self) - len(kept)

    def ranked(self, seed: int) -> list[int]:
        def key(index: int) -> tuple[str, int]:
            return hashlib.sha256(f"{seed}:{self.identities[index]}".encode()).hexdigest(), index

        return sorted(range(len(self)), key=key)


def _read(task: Task, mirror: Path | None, skip: bool) -> tuple[tuple[_Pool, _Pool], dict[str, Tally]]:
    """Return the pools of the splits that test and train, and of each file its rows and those left out as bad."""
    splits = {split: list(task.examples(split, mirror)) for split in (task.test, task.train)}
    placed = dict(row for rows in splits.values() for row in rows)
    bad = [BadRow(place, str(one)) for place, one in placed.items() if isinstance(one, RowError)]
    refuse(bad, placed, skip=skip, explain=lambda file: task.explain(file, mirror))
    for split, rows in splits.items():
        if not rows:
            raise InputError(f"Task {task.name!r} has no rows in split {split!r}.")
        if all(isinstance(one, RowError) for _, one in rows):
            raise InputError(f"Task {task.name!r}: no row of {split!r} is left, for {rows[0][0]}: {rows[0][1]}")
    good = {split: [(place, one) for place, one in rows if isinstance(one, Example)] for split, rows in splits.items()}
    return (_Pool.of(good[task.test]), _Pool.of(good[task.train])), tally(bad, placed)


def _check_counts(**counts: int | None) -> None:
    for key, count in counts.items():
        if count is not None and count < 1:
            raise InputError(f"data.{key}={count} leaves nothing to work on: use at least 1, or null for all.")


def _default_size(rows: int, train_samples: int | None) -> int:
    least = max(VALIDATION_LEAST, (train_samples or rows) // 10)
    return max(1, min(int(rows * VALIDATION_SHARE), VALIDATION_LIMIT, least))


def _validation_size(task: Task, pool: _Pool, size: int, history: str) -> int:
    rows = len(pool)
    if rows < 2:
        raise InputError(
            f"Task {task.name!r}: {rows} row(s) of {task.train!r} remain to train and validate on ({history}); "
            "at least 2 are needed."
        )
    if size >= rows:
        raise InputError(
            f"Task {task.name!r}: data.validation_samples={size} leaves none of {rows} rows of {task.train!r} to "
            f"train on ({history}); use at most {rows - 1}."
        )
    return size
