"""A task: where its rows come from, which rows train and test it, and how a row becomes an example."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.data.example import Example, RowError
from orchestrator.data.json_lines import PlacedRow
from orchestrator.data.slices import parse_split
from orchestrator.data.sources import FileSource, Source


def unexplained(rows: Iterable[Mapping[str, Any]]) -> None:
    """Return None: the rows of a published benchmark are not searched for a common fault."""
    del rows


@dataclass(frozen=True)
class Task:
    """A benchmark, or a file of your own.

    ``train`` and ``test`` are split expressions. ``example`` makes an example of a row; it raises `RowError`. ``fault``
    returns a fault that many rows have in common, with its remedy, or None.
    """

    name: str
    source: Source
    example: Callable[[Mapping[str, Any]], Example]
    train: str
    test: str
    fault: Callable[[Iterable[Mapping[str, Any]]], str | None] = unexplained

    @property
    def own(self) -> bool:
        """Whether the rows are of your own file. Equal choices are a mistake there, but not in published benchmarks."""
        return isinstance(self.source, FileSource)

    def with_splits(self, train: str | None = None, test: str | None = None) -> Task:
        """Return a copy that trains or tests on other splits, such as ``"validation[:800]"``."""
        for expression in (train, test):
            if expression is not None:
                parse_split(expression)
        return replace(self, train=train or self.train, test=test or self.test)

    def load(self, split: str, mirror: Path | None = None) -> Iterator[PlacedRow]:
        """Yield the rows of a split, unchanged."""
        return self.source.load(split, mirror)

    def examples(self, split: str, mirror: Path | None = None) -> Iterator[tuple[str, Example | RowError]]:
        """Yield the place and the example of every row; for a bad row, the error instead of the example."""
        for placed in self.load(split, mirror):
            try:
                yield placed.place, self.example(placed.row)
            except RowError as error:
                yield placed.place, error

    def explain(self, file: str, mirror: Path | None = None) -> str | None:
        """Return the fault that the rows of a file have in common, with its remedy; None if none is known."""
        rows = (placed for split in (self.train, self.test) for placed in self.load(split, mirror))
        return self.fault(placed.row for placed in rows if placed.place.rpartition(":")[0] == file)
