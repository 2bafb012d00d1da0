"""Read JSON lines files line by line, so that every error names its file and line."""

from __future__ import annotations

import json
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from orchestrator.data.slices import Slice
from orchestrator.errors import InputError

MAX_LINE_BYTES = 1_000_000

_NOT_TEXT = {
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"PK\x03\x04": "a zip file",
    b"PAR1": "a parquet file",
    b"ARROW1": "an Arrow file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
_JSON_NAMES = {list: "a list", str: "a string", int: "a number", float: "a number", bool: "a boolean"}
_UTF8_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class PlacedRow:
    """A row and its place: ``path:line`` in a file, otherwise the name of the source and the number of the row."""

    place: str
    row: Mapping[str, Any]


def read_rows(path: Path, split: Slice | None = None) -> Iterator[PlacedRow]:
    """Yield the rows of a JSON lines file, or of a slice of it; InputError at the first line that is no object."""
    start, stop = (0, None) if split is None or not split.sliced else split.bounds(count_lines(path))
    for number, line in islice(enumerate(_raw_lines(path), 1), start, stop):
        yield PlacedRow(f"{path}:{number}", _parse(line, f"{path}:{number}"))


def count_lines(path: Path) -> int:
    """Return the number of lines of a file."""
    return sum(1 for _ in _raw_lines(path))


def check_file(path: Path) -> None:
    """Raise InputError unless ``path`` is a regular file that is not empty and may be text."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path} is a folder; a file with one JSON object per line was expected. Give its path.")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is not a regular file (a pipe, socket or device). Save the rows in a file first.")
        if status.st_size == 0:
            raise InputError(f"{path} is empty: 0 rows. Write one JSON object per line.")
        with path.open("rb") as file:
            head = file.read(8)
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist. Paths count from the folder in which the job starts; give one that does."
        ) from None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{str(path)!r} cannot be read: {reason}. Correct the path or its permissions.") from None
    for magic, kind in _NOT_TEXT.items():
        if head.startswith(magic):
            raise InputError(f"{path} is {kind}; convert it to UTF-8 text with one JSON object per line.")


def _raw_lines(path: Path) -> Iterator[bytes]:
    check_file(path)
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise InputError(
                    f"{path}:{number}: a line of more than {MAX_LINE_BYTES:,} bytes. Write one JSON object per line "
                    "and shorten its text; no model reads that much."
                )
            yield line.removeprefix(_UTF8_MARK) if number == 1 else line


def _parse(line: bytes, place: str) -> dict[str, Any]:
    if b"\0" in line:
        raise InputError(f"{place}: a null byte; the file was damaged or is not text. Write it again.")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start + 1} (0x{line[error.start]:02x})"
        raise InputError(f"{place}: {byte} is not UTF-8. Save the file as UTF-8.") from None
    if not text.strip():
        raise InputError(f"{place}: a blank line. Remove it; every line is one JSON object.")
    row = _decode(text, place)
    if not isinstance(row, dict):
        kind = "null" if row is None else _JSON_NAMES[type(row)]
        raise InputError(f"{place}: {kind} where an object was expected. Write one JSON object {{...}} a line.")
    return row


def _decode(text: str, place: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        cut = "" if text.endswith("\n") else "; the line has no end, so the file may be cut off"
        raise InputError(
            f"{place}: not valid JSON ({error.msg}, character {error.colno}){cut}. Write one JSON object per line."
        ) from None
    except RecursionError:
        raise InputError(f"{place}: JSON nested too deeply. Write one flat object a line.") from None
    except ValueError as error:
        raise InputError(f"{place}: not valid JSON ({error}). Correct this line.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"column {twice!r} occurs twice")
    return row


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
