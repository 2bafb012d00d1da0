"""Malformed files of rows, made by a seeded generator: no files, no text, no JSON, no questions, floods and leaks."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.hostile.canary import Canary

Row = dict[str, Any]
Make = Callable[[Path], None]


@dataclass(frozen=True)
class DataSet:
    """A file of rows: ``make(path)`` writes it; ``keys`` are more keys of the task's entry; ``bad``: it must fail."""

    name: str
    make: Make
    keys: str = ""
    bad: bool = True


def row(number: int, **changes: Any) -> Row:
    """Return a good row with some columns changed."""
    return {"question": f"q {number}", "choices": [f"a {number}", f"b {number}"], "answer": number % 2, **changes}


ROWS = [row(number) for number in range(40)]


def lines(rows: list[Any]) -> bytes:
    """Return rows as JSON lines."""
    return b"".join(json.dumps(one).encode() + b"\n" for one in rows)


GOOD = lines(ROWS)


def content(written: bytes) -> Make:
    """Return what writes these bytes."""
    return lambda path: _write(path, written)


def changed(number: int = 11, **changes: Any) -> Make:
    """Return a function that writes good rows, and one row with other values."""
    return content(lines([row(n, **(changes if n == number else {})) for n in range(40)]))


def without(column: str, number: int = 11) -> Make:
    """Return a function that writes good rows, and one row that lacks a column."""
    return content(lines([{k: v for k, v in one.items() if n != number or k != column} for n, one in enumerate(ROWS)]))


def with_line(line: bytes, number: int = 11) -> Make:
    """Return a function that writes good rows with one strange line among these rows."""
    good = GOOD.splitlines(keepends=True)
    return content(b"".join([*good[:number], line + b"\n", *good[number:]]))


def _write(path: Path, written: bytes) -> None:
    path.write_bytes(written)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(path.name)
    finally:
        os.chdir(here)


NOT_FILES: dict[str, Make] = {
    "nothing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a socket": _socket,
    "a link to nothing": lambda path: path.symlink_to(path.with_name("gone")),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to no device": lambda path: path.symlink_to("/dev/null"),
    "a link to a folder": lambda path: path.symlink_to(path.parent),
}
NOT_ROWS: dict[str, bytes] = {
    "empty": b"",
    "a line end": b"\n",
    "blank lines": b"\n\n\n",
    "spaces": b"   \n",
    "a mark of UTF-8 alone": b"\xef\xbb\xbf",
    "gzip": gzip.compress(GOOD),
    "gzip, cut": gzip.compress(GOOD)[:30],
    "bzip2": b"BZh91AY&SY" + bytes(50),
    "xz": b"\xfd7zXZ\x00" + bytes(50),
    "zstd": b"\x28\xb5\x2f\xfd" + bytes(50),
    "zip": b"PK\x03\x04" + bytes(50),
    "parquet": b"PAR1" + bytes(50) + b"PAR1",
    "arrow": b"ARROW1\x00\x00" + bytes(50),
    "a pickle": pickle.dumps(Canary("touched-by-rows")),
    "numpy": b"\x93NUMPY\x01\x00" + bytes(50),
    "SQLite": b"SQLite format 3\x00" + bytes(50),
    "PDF": b"%PDF-1.7\n" + bytes(50),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(50),
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-16 without its mark": GOOD.decode().encode("utf-16-le"),
    "UTF-32": GOOD.decode().encode("utf-32"),
    "CSV": b"question,choices,answer\nq,a|b,0\n",
    "TSV": b"question\tchoices\tanswer\n",
    "HTML": b"<!doctype html><html><body>404</body></html>\n",
    "a pointer of git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
    "one list of all rows": json.dumps(ROWS).encode(),
    "rows over many lines": json.dumps(ROWS, indent=1).encode(),
    "YAML": b"- question: q\n  choices: [a, b]\n  answer: 0\n",
    "Python": b"{'question': 'q', 'choices': ['a', 'b'], 'answer': 0}\n",
    "one row": lines(ROWS[:1]),
    "two rows": lines(ROWS[:2]),
    "one row, forty times": lines(ROWS[:1] * 40),
    "a last line that is cut": GOOD[:-20],
    "a line of 2 MB": lines([row(0, question="x" * 2_000_000)]),
    "2 MB without a line end": b"x" * 2_000_000,
    "zeros": bytes(100_000),
    "no brackets": GOOD.replace(b"{", b"").replace(b"}", b""),
}  # fmt: skip
STRANGE_LINES: dict[str, bytes] = {
    "a blank line": b"",
    "a comment": b"# comment",
    "a list": b"[1, 2]",
    "a text": b'"hello"',
    "a number": b"5",
    "null": b"null",
    "a boolean": b"true",
    "NaN": b'{"question": "q", "choices": ["a", "b"], "answer": NaN}',
    "Infinity": b'{"question": "q", "choices": ["a", "b"], "answer": Infinity}',
    "minus Infinity": b'{"question": "q", "choices": ["a", "b"], "answer": -Infinity}',
    "a comma at the end": b'{"question": "q", "choices": ["a", "b"], "answer": 0,}',
    "single quotes": b"{'question': 'q'}",
    "two objects": b'{"question": "q"} {"question": "r"}',
    "an object, not closed": b'{"question": "q"',
    "a text, not closed": b'{"question": "q',
    "a column twice": b'{"question": "q", "question": "r", "choices": ["a", "b"], "answer": 0}',
    "many columns, one twice": b"{" + b",".join(b'"k%d": 1' % n for n in range(60_000)) + b',"k59999": 2}',
    "a NUL": b'{"question": "q\x00"}',
    "Latin-1": '{"question": "caf\u00e9"}'.encode("latin-1"),
    "half a character": b'{"question": "\xe2\x82"}',
    "too long a character": b'{"question": "\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"question": "\xed\xa0\x80"}',
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a": ' * 50_000 + b"1" + b"}" * 50_000,
    "a deep choice": b'{"question": "q", "choices": [' + b"[" * 900 + b"]" * 900 + b'], "answer": 0}',
    "digits": b'{"question": "q", "choices": ["a", "b"], "answer": ' + b"9" * 5000 + b"}",
    "an exponent": b'{"question": "q", "choices": ["a", "b"], "answer": 1e999}',
    "an escape that is none": b'{"question": "\\q"}',
    "a tab in a text": b'{"question": "a\tb"}',
}
VALUES: dict[str, tuple[Any, ...]] = {
    "question": (None, "", "  ", 5, 0.5, True, ["q"], {"q": 1}, "\ud800"),
    "choices": (None, [], ["a"], "ab", 5, True, {"a": 1}, ["a", None], ["a", ""], ["a", " "], ["a", 5], ["a", ["b"]],
                ["a", "a"], ["a", "\udc00"], [["a", "b"]], ["x"] * 150_000, [str(n) for n in range(60_000)] + ["7"]),
    "answer": (None, "", -1, 2, 99, 10**30, 0.5, 1.0, True, "c", "Z", "no choice", [0], {"a": 0}, "\ud800", "0 1"),
}  # fmt: skip
KEYS: dict[str, str] = {
    "a column that is not there": "question: q",
    "choices that are not there": "choices: options",
    "answers that are not there": "answer: label",
    "columns that are not there": "choices: [a, b]",
    "one column for all": "question: answer",
    "answers from 1": "answer_base: 1",
    "a split that is not there": "train: dev",
    "a slice that is empty": "train: 'train[:0]'",
    "a slice beyond the rows": "train: 'train[:999]'",
    "a slice that is none": "train: 'train[1:2:3]'",
    "a slice of per cents": "train: 'train[:0%]'",
    "a slice of 200 per cent": "train: 'train[:200%]'",
    "a path as split": "train: ../../etc/passwd",
    "a test file that is not there": "test: gone.jsonl",
    "the same file to test on": "test: SAME",
}


def data_sets(count: int, seed: int = 0) -> Iterator[DataSet]:
    """Yield ``count`` data sets, nearly all of them wrong; the same for the same seed."""
    cases = [
        *(DataSet(name, make) for name, make in NOT_FILES.items()),
        *(DataSet(name, content(written)) for name, written in NOT_ROWS.items()),
        *(DataSet(f"a line: {name}", with_line(line)) for name, line in STRANGE_LINES.items()),
        *(DataSet(f"no {column} in a row", without(column)) for column in VALUES),
        *(
            DataSet(f"{column} is {str(value)[:20]!r}", changed(**{column: value}), bad=value not in (True, 1.0))
            for column, values in VALUES.items()
            for value in values
        ),
        *(
            DataSet(f"in every row {name}", content(GOOD), keys, bad=name != "a slice of per cents")
            for name, keys in KEYS.items()
        ),
        DataSet("all rows with Windows' line ends", content(GOOD.replace(b"\n", b"\r\n")), bad=False),
        DataSet("a mark of UTF-8", content(b"\xef\xbb\xbf" + GOOD), bad=False),
    ]
    yield from cases[:count]
    draw = random.Random(seed)
    for number in range(count - len(cases)):
        spoiled = bytearray(GOOD)
        for _ in range(draw.choice((1, 1, 3, 20))):
            spoiled[draw.randrange(len(spoiled))] = draw.randrange(256)
        yield DataSet(f"flipped bytes {number}", content(bytes(spoiled)), bad=False)
