"""Where a task's rows come from: the hub or a mirror of it, a file of your own, or a generator."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from orchestrator.data.example import Example, RowError
from orchestrator.data.json_lines import PlacedRow, read_rows
from orchestrator.data.slices import Slice, parse_split
from orchestrator.errors import InputError

__all__ = ["FileSource", "GeneratedSource", "HubSource", "PlacedRow", "Source", "Task"]

TEST_SHARE = 0.2


class Source(Protocol):
    """Rows by split, and which splits train and test a task unless a recipe says otherwise."""

    @property
    def train(self) -> str:
        """The split expression of the rows to train and validate on."""

    @property
    def test(self) -> str:
        """The split expression of the rows to report on."""

    def load(self, split: str, mirror: Path | None) -> Iterator[PlacedRow]:
        """Yield the rows of a split; raise `InputError` with place and remedy where that is impossible."""


@dataclass(frozen=True)
class HubSource:
    """A data set on the Hugging Face hub, or the same rows in ``<mirror>/<id>/<config>/<split>.jsonl``."""

    id: str
    config: str
    train: str
    test: str

    def load(self, split: str, mirror: Path | None) -> Iterator[PlacedRow]:
        """Yield the rows of a split from the mirror if there is one, else from the hub."""
        wanted = parse_split(split)
        if mirror is None:
            return self._from_hub(wanted)
        return read_rows(self._mirrored(wanted, mirror), wanted)

    def _mirrored(self, split: Slice, mirror: Path) -> Path:
        if not mirror.is_dir():
            raise InputError(f"data.mirror={mirror} is not a folder; it holds <hub id>/<config>/<split>.jsonl.")
        folder = mirror / self.id / self.config
        path = folder / f"{split.name}.jsonl"
        if path.exists():
            return path
        there = sorted(file.stem for file in folder.glob("*.jsonl"))
        if not there:
            raise InputError(f"{path} does not exist, nor any other split of {self.id} ({self.config}) in that mirror.")
        raise InputError(
            f"{path} does not exist. Splits of {self.id} ({self.config}) there: {', '.join(there)}. Choose in the "
            f"recipe where to train and test: {{name: TASK, train: '{there[0]}[:80%]', test: '{there[0]}[80%:]'}}."
        )

    def _from_hub(self, split: Slice) -> Iterator[PlacedRow]:
        try:
            from datasets import load_dataset

            rows = load_dataset(self.id, self.config, split=str(split))
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            raise InputError(
                f"Cannot load {self.id} ({self.config}), split {str(split)!r}, from the hub: {type(error).__name__}: "
                f"{reason} Without a network read it from files with data.mirror=DIR: "
                f"DIR/{self.id}/{self.config}/{split.name}.jsonl."
            ) from error
        return (PlacedRow(f"{self.id}/{self.config}/{split}:{n}", row) for n, row in enumerate(rows, 1))


@dataclass(frozen=True)
class FileSource:
    """A JSON lines file of your own, and one to test on.

    Without the latter, a fifth of the rows is held out for the test: those whose content hashes lowest, so the cut does
    not depend on the order of the lines, and it is the same for every method, seed and machine.
    """

    path: Path
    test_path: Path | None = None
    train: str = "train"
    test: str = "test"

    def load(self, split: str, mirror: Path | None) -> Iterator[PlacedRow]:
        """Yield the rows of ``train`` or ``test``, or of a slice of them; a mirror has no say in your own files."""
        del mirror
        wanted = parse_split(split)
        if wanted.name not in ("train", "test"):
            raise InputError(f"{self.path} has the splits 'train' and 'test', not {wanted.name!r}.")
        if self.test_path is None:
            return _sliced(self._cut(wanted.name), wanted)
        return read_rows(self.path if wanted.name == "train" else self.test_path, wanted)

    def _cut(self, name: str) -> list[PlacedRow]:
        rows = list(read_rows(self.path))
        if len(rows) < 2:
            raise InputError(f"{self.path} has {len(rows)} row; training and testing on it needs at least 2.")
        by_content = sorted(range(len(rows)), key=lambda index: (_digest(rows[index].row), index))
        held_out = set(by_content[: max(1, round(len(rows) * TEST_SHARE))])
        return [row for index, row in enumerate(rows) if (index in held_out) == (name == "test")]


@dataclass(frozen=True)
class GeneratedSource:
    """Rows that a function makes up; ``fingerprint`` names the generator and all that its rows depend on."""

    rows: Callable[[str], list[dict[str, Any]]]
    fingerprint: str
    train: str = "train"
    test: str = "test"

    def load(self, split: str, mirror: Path | None) -> Iterator[PlacedRow]:
        """Yield the generated rows of a split, or of a slice of it."""
        del mirror
        wanted = parse_split(split)
        placed = [
            PlacedRow(f"{self.fingerprint}/{wanted.name}:{n}", row) for n, row in enumerate(self.rows(wanted.name), 1)
        ]
        return _sliced(placed, wanted)


def unexplained(rows: Iterable[Mapping[str, Any]]) -> None:
    """Return no fault that rows have in common: a published benchmark has its own shape."""
    del rows


@dataclass(frozen=True)
class Task:
    """A benchmark: where its rows are, which of them train and test, what a row asks, and what rows may lack."""

    name: str
    source: Source
    example: Callable[[Mapping[str, Any]], Example]
    train: str
    test: str
    fault: Callable[[Iterable[Mapping[str, Any]]], str | None] = unexplained

    @property
    def own(self) -> bool:
        """Whether the rows are a file of your own, in which twins are mistakes: a published benchmark has some."""
        return isinstance(self.source, FileSource)

    def with_splits(self, train: str | None = None, test: str | None = None) -> Task:
        """Return a copy that trains or tests on other splits: ``"validation[:800]"``."""
        for expression in (train, test):
            if expression is not None:
                parse_split(expression)
        return replace(self, train=train or self.train, test=test or self.test)

    def load(self, split: str, mirror: Path | None = None) -> Iterator[PlacedRow]:
        """Yield the rows of a split as they are."""
        return self.source.load(split, mirror)

    def examples(self, split: str, mirror: Path | None = None) -> Iterator[tuple[str, Example | RowError]]:
        """Yield place and example of every row; for a row that cannot be one, the error that says why."""
        for placed in self.load(split, mirror):
            try:
                yield placed.place, self.example(placed.row)
            except RowError as error:
                yield placed.place, error

    def explain(self, file: str, mirror: Path | None = None) -> str | None:
        """Return the fault that the rows of a file have in common, with its remedy, if the task knows one."""
        rows = (placed for split in (self.train, self.test) for placed in self.load(split, mirror))
        return self.fault(placed.row for placed in rows if placed.place.rpartition(":")[0] == file)


def _sliced(rows: Sequence[PlacedRow], split: Slice) -> Iterator[PlacedRow]:
    start, stop = split.bounds(len(rows)) if split.sliced else (0, len(rows))
    return islice(rows, start, stop)


def _digest(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
