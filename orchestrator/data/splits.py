"""Cut the examples of a task into train, validation and test, so that no test question is also trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.data.bad_rows import BadRow, Tally, refuse, tally
from orchestrator.data.example import Example, RowError
from orchestrator.data.sources import FileSource
from orchestrator.data.task import Task
from orchestrator.errors import InputError

VALIDATION_SHARE = 0.1
VALIDATION_LIMIT = 500
VALIDATION_LEAST = 50
"""Fewer validation rows cannot tell methods apart. More than a tenth of the trained rows cost too much time."""


@dataclass(frozen=True)
class SplitReport:
    """The numbers of rows that were read, left out and used.

    ``duplicates`` repeat an earlier train row, ``leaked`` train rows are also in the test, ``skipped`` rows are bad.
    ``indistinct`` counts the used questions with two choices of the same tokens; it is set once they are tokenised.
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
    """The examples of one task by split, in the order of their files.

    ``places[split]`` are the places (``path:line``) of the split's examples. ``own``: they are of your own file.
    ``skip_bad_rows``: examples that a tokenizer cannot take are left out instead of an error. ``read`` holds, per file,
    how many rows were read and how many of them were bad.
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
        """Return train, validation and test by name."""
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
    """Read a task and return its splits, which are the same for every method, seed and machine.

    Train rows that repeat an earlier row, or that occur in the test, are left out and counted. Validation is cut from
    the remaining train rows. It has ``validation_samples`` rows; by default a tenth of the rows, but at most 500, and
    at most the larger of 50 and a tenth of ``train_samples``. ``train_samples`` and ``eval_samples`` are the largest
    numbers of rows to train and test on.

    Rows are chosen by a hash of ``split_seed`` and the row's content. So the order of the lines does not matter, and
    the rows of a smaller ``train_samples`` are a part of those of a larger one. A bad row is an InputError. With
    ``skip_bad_rows`` bad rows are left out and counted, if they are few (`orchestrator.data.bad_rows.refuse`).
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
    """Return a hash of prompt and choices that ignores case, white space and the order of the choices."""
    prompt, *choices = (" ".join(part.casefold().split()) for part in (example.prompt, *example.choices))
    return hashlib.sha256("\x1f".join((prompt, *sorted(choices))).encode()).hexdigest()


@dataclass(frozen=True)
class _Pool:
    """The examples of one split, with the place and the `identity` of each, as three lists of one length."""

    places: list[str]
    examples: list[Example]
    identities: list[str]

    @classmethod
    def of(cls, placed: Sequence[tuple[str, Example]]) -> _Pool:
        """Return the pool of these pairs of place and example."""
        examples = [example for _, example in placed]
        return cls([place for place, _ in placed], examples, [identity(example) for example in examples])

    def __len__(self) -> int:
        return len(self.examples)

    def take(self, indices: Sequence[int]) -> _Pool:
        """Return the pool of the examples at these indices, in the order of the file."""
        kept = sorted(indices)
        places, examples = [self.places[i] for i in kept], [self.examples[i] for i in kept]
        return _Pool(places, examples, [self.identities[i] for i in kept])

    def without_repeats(self) -> tuple[_Pool, int]:
        """Return the pool without repeated examples, and how many were repeated; the first of equal ones stays."""
        first = {name: index for index, name in reversed(list(enumerate(self.identities)))}
        return self.take(list(first.values())), len(self) - len(first)

    def without(self, other: _Pool) -> tuple[_Pool, int]:
        """Return the pool without the examples that are in ``other``, and how many examples were left out."""
        foreign = set(other.identities)
        kept = [index for index, name in enumerate(self.identities) if name not in foreign]
        return self.take(kept), len(self) - len(kept)

    def ranked(self, seed: int) -> list[int]:
        """Return all indices, ordered by a hash of the seed and each example's identity."""

        def key(index: int) -> tuple[str, int]:
            return hashlib.sha256(f"{seed}:{self.identities[index]}".encode()).hexdigest(), index

        return sorted(range(len(self)), key=key)


def _read(task: Task, mirror: Path | None, skip: bool) -> tuple[tuple[_Pool, _Pool], dict[str, Tally]]:
    """Return the pools of the test and the train split, and per file the numbers of all rows and of bad rows."""
    splits = {split: list(task.examples(split, mirror)) for split in (task.test, task.train)}
    placed = dict(row for rows in splits.values() for row in rows)
    bad = [BadRow(place, str(example)) for place, example in placed.items() if isinstance(example, RowError)]
    refuse(bad, placed, skip=skip, explain=lambda file: task.explain(file, mirror))
    for split, rows in splits.items():
        if not rows:
            raise InputError(f"Task {task.name!r} has no rows in split {split!r}. Add rows, or take another split.")
        if all(isinstance(example, RowError) for _, example in rows):
            raise InputError(
                f"Task {task.name!r}: no row of {split!r} is left, for {rows[0][0]}: {rows[0][1]} Correct the file."
            )
    test, train = (
        _Pool.of([(place, example) for place, example in splits[split] if isinstance(example, Example)])
        for split in (task.test, task.train)
    )
    return (test, train), tally(bad, placed)


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
        where = f" to {task.source.path}" if isinstance(task.source, FileSource) else ""
        raise InputError(
            f"Task {task.name!r}: {rows} row(s) of {task.train!r} remain to train and validate on ({history}); "
            f"at least 2 are needed. Add rows{where}."
        )
    if size >= rows:
        raise InputError(
            f"Task {task.name!r}: data.validation_samples={size} leaves none of {rows} rows of {task.train!r} to "
            f"train on ({history}); use at most {rows - 1}."
        )
    return size
