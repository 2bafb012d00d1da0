"""The sources of a task's rows: the hub or a mirror of it, a file of your own, or a generator."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from orchestrator.data.json_lines import PlacedRow, read_rows
from orchestrator.data.slices import Slice, parse_split
from orchestrator.errors import InputError

TEST_SHARE = 0.2
"""The share of rows that are held out for the test, of a file of your own without a file to test on."""


class Source(Protocol):
    """Rows by split; ``train`` and ``test`` are the splits that a task uses unless its recipe names others."""

    @property
    def train(self) -> str:
        """The split expression of the rows to train and validate on."""

    @property
    def test(self) -> str:
        """The split expression of the rows to report on."""

    def load(self, split: str, mirror: Path | None) -> Iterator[PlacedRow]:
        """Yield the rows of a split; InputError, with place and remedy, if they cannot be read."""


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
            raise InputError(
                f"data.mirror={mirror} is not a folder; give one that holds <hub id>/<config>/<split>.jsonl."
            )
        folder = mirror / self.id / self.config
        path = folder / f"{split.name}.jsonl"
        if path.exists():
            return path
        there = sorted(file.stem for file in folder.glob("*.jsonl"))
        if not there:
            raise InputError(
                f"{path} does not exist, nor any other split of {self.id} ({self.config}) in that mirror. "
                "Put the rows there."
            )
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
    """A JSON lines file of your own, and perhaps a second file to test on.

    Without a second file, the fifth of the rows whose content has the lowest hashes is held out for the test. So the
    held-out rows do not depend on the order of the lines; they are the same for every method, seed and machine.
    """

    path: Path
    test_path: Path | None = None
    train: str = "train"
    test: str = "test"

    def load(self, split: str, mirror: Path | None) -> Iterator[PlacedRow]:
        """Yield the rows of ``train`` or ``test``, or of a slice of one; ``mirror`` is not used for your own files."""
        del mirror
        wanted = parse_split(split)
        if wanted.name not in ("train", "test"):
            raise InputError(f"{self.path} has the splits 'train' and 'test', not {wanted.name!r}. Write one of them.")
        if self.test_path is None:
            return _sliced(self._cut(wanted.name), wanted)
        return read_rows(self.path if wanted.name == "train" else self.test_path, wanted)

    def _cut(self, name: str) -> list[PlacedRow]:
        """Return the rows of the split ``name`` of a file without a second file to test on."""
        rows = list(read_rows(self.path))
        if len(rows) < 2:
            raise InputError(f"{self.path} has {len(rows)} row; training and testing on it needs at least 2: add rows.")
        by_content = sorted(range(len(rows)), key=lambda index: (_digest(rows[index].row), index))
        held_out = set(by_content[: max(1, round(len(rows) * TEST_SHARE))])
        return [row for index, row in enumerate(rows) if (index in held_out) == (name == "test")]


@dataclass(frozen=True)
class GeneratedSource:
    """Rows that a function generates; ``fingerprint`` is a hash of everything that they depend on."""

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


def _sliced(rows: Sequence[PlacedRow], split: Slice) -> Iterator[PlacedRow]:
    start, stop = split.bounds(len(rows)) if split.sliced else (0, len(rows))
    return islice(rows, start, stop)


def _digest(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
