"""Rows from a mirror, a file, a generator or the hub: slices, and what is said about a file that cannot be used."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.data.example import RowError
from orchestrator.data.json_lines import MAX_LINE_BYTES, read_rows
from orchestrator.data.slices import Slice, parse_split
from orchestrator.data.sources import FileSource, GeneratedSource, HubSource
from orchestrator.data.task import Task
from orchestrator.data.tasks import get_task, make_task
from orchestrator.errors import InputError

GOOD = b'{"question": "q", "choices": ["a", "b"], "answer": 0}\n'


def _write(path: Path, count: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"question": f"question {n}", "choices": ["a", "b"], "answer": n % 2} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _mirror(folder: Path, **rows: int) -> Path:
    for split, count in rows.items():
        _write(folder / "org/set" / "main" / f"{split}.jsonl", count)
    return folder


def _numbers(rows: Any) -> list[int]:
    return [int(placed.row["question"].split()[-1]) for placed in rows]


HUB = HubSource(id="org/set", config="main", train="train", test="validation")


def test_a_mirrored_row_knows_its_file_and_line(tmp_path: Path) -> None:
    placed = list(HUB.load("train", _mirror(tmp_path, train=3)))
    assert [each.place for each in placed] == [f"{tmp_path}/org/set/main/train.jsonl:{n}" for n in (1, 2, 3)]
    assert placed[1].row["question"] == "question 1"


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", range(10)),
        ("train[:]", range(10)),
        ("train[:4]", range(4)),
        ("train[4:]", range(4, 10)),
        ("train[2:5]", range(2, 5)),
        ("train[-3:]", range(7, 10)),
        ("train[:-3]", range(7)),
        ("train[10%:]", range(1, 10)),
        ("train[:50%]", range(5)),
        ("train[-20%:]", range(8, 10)),
    ],
)
def test_a_slice_selects_rows_and_keeps_their_line_numbers(split: str, expected: range, tmp_path: Path) -> None:
    rows = list(HUB.load(split, _mirror(tmp_path, train=10)))
    assert _numbers(rows) == list(expected)
    assert [int(row.place.rsplit(":", 1)[1]) for row in rows] == [n + 1 for n in expected]


def test_two_slices_at_one_bound_cover_everything_once(tmp_path: Path) -> None:
    mirror = _mirror(tmp_path, validation=17)
    for bound in ("5", "33%", "-4"):
        both = [*HUB.load(f"validation[:{bound}]", mirror), *HUB.load(f"validation[{bound}:]", mirror)]
        assert _numbers(both) == list(range(17))


@pytest.mark.parametrize("split", ["", "train[", "train[1:2", "train[1]", "train[a:]", "../train", "train+test", "a b"])
def test_a_split_that_is_no_split_is_refused(split: str) -> None:
    with pytest.raises(InputError, match=r"is not understood. Write a name, or a name and a slice"):
        parse_split(split)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("train[:11]", r"Split 'train\[:11\]' goes beyond the 10 rows of 'train'"),
        ("train[-11:]", r"Split 'train\[-11:\]' goes beyond the 10 rows"),
        ("train[101%:]", r"goes beyond the 10 rows"),
        ("train[10:]", r"Split 'train\[10:\]' selects none of the 10 rows"),
        ("train[5:2]", r"selects none"),
        ("train[:0]", r"selects none"),
        ("train[:1%]", r"selects none"),
    ],
)
def test_a_slice_outside_the_rows_gives_the_numbers(split: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        list(HUB.load(split, _mirror(tmp_path, train=10)))


def test_a_split_prints_as_it_was_written() -> None:
    for written in ("train", "train[:]", "validation[:800]", "train[10%:-5]"):
        assert str(parse_split(written)) == written
    assert parse_split("train[10%:]") == Slice("train", "10%", None, True)


def test_a_missing_split_names_those_there_are_and_how_to_choose(tmp_path: Path) -> None:
    mirror = _mirror(tmp_path, validation=2, test=1)
    with pytest.raises(
        InputError, match=r"train.jsonl does not exist. Splits of org/set \(main\) there: test, validation"
    ):
        list(HUB.load("train", mirror))
    with pytest.raises(InputError, match=r"\{name: TASK, train: 'test\[:80%\]', test: 'test\[80%:\]'\}"):
        list(HUB.load("train", mirror))


def test_a_mirror_without_the_data_set_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nor any other split of org/set \(main\) in that mirror"):
        list(HUB.load("train", tmp_path))
    with pytest.raises(InputError, match=r"data.mirror=.*nowhere is not a folder"):
        list(HUB.load("train", tmp_path / "nowhere"))


MALFORMED = {
    "invalid JSON": (GOOD + b'{"question": \n', r":2: not valid JSON \(Expecting value, character"),
    "plain text": (b"What is ice?\n", r":1: not valid JSON"),
    "single quotes": (b"{'question': 'q'}\n", r":1: not valid JSON \(Expecting property name"),
    "two objects in a line": (GOOD.strip() + GOOD, r":1: not valid JSON \(Extra data, character"),
    "pretty printed": (b'{\n  "question": "q"\n}\n', r":1: not valid JSON"),
    "cut off": (GOOD + GOOD[:30], r":2: not valid JSON .*the line has no end, so the file may be cut off"),
    "CSV": (b"question,answer\nq,0\n", r":1: not valid JSON"),
    "HTML": (b"<!DOCTYPE html>\n", r":1: not valid JSON"),
    "NaN": (b'{"question": NaN}\n', r":1: not valid JSON \(NaN is no JSON number\)"),
    "Infinity": (b'{"question": -Infinity}\n', r":1: not valid JSON \(-Infinity is no JSON number\)"),
    "a column twice": (b'{"answer": 0, "answer": 1}\n', r":1: not valid JSON \(column 'answer' occurs twice\)"),
    "a number of 5000 digits": (b'{"answer": ' + b"9" * 5000 + b"}\n", r":1: not valid JSON \(Exceeds the limit"),
    "nested without end": (b"[" * 200_000 + b"\n", r":1: JSON nested too deeply"),
    "invalid UTF-8": (
        GOOD + b'{"question": "\xe9t\xe9"}\n',
        r":2: byte 15 \(0xe9\) is not UTF-8. Save the file as UTF-8",
    ),
    "half a UTF-8 character": (b'{"question": "\xc3"}\n', r":1: byte 15 \(0xc3\) is not UTF-8"),
    "null bytes": (GOOD + b"\0" * 100, r":2: a null byte; the file was damaged"),
    "a null byte in a line": (b'{"question": "a\0b"}\n', r":1: a null byte"),
    "a blank line": (GOOD + b"\n" + GOOD, r":2: a blank line. Remove it"),
    "a blank last line": (GOOD + b"  \t\n", r":2: a blank line"),
    "only line ends": (b"\n\n\n", r":1: a blank line"),
    "a list": (GOOD + b'["question"]\n', r":2: a list where an object was expected"),
    "an array of all rows": (b"[" + GOOD.strip() + b"]\n", r":1: a list where an object was expected"),
    "a string": (b'"question"\n', r":1: a string where an object was expected"),
    "a number": (b"17\n", r":1: a number where an object was expected"),
    "a boolean": (b"true\n", r":1: a boolean where an object was expected"),
    "null": (b"null\n", r":1: null where an object was expected"),
    "an endless line": (
        GOOD + b'{"q": "' + b"x" * MAX_LINE_BYTES + b'"}\n',
        r":2: a line of more than 1,000,000 bytes",
    ),
    "empty": (b"", r"rows.jsonl is empty: 0 rows"),
    "gzip": (gzip.compress(GOOD, mtime=0), r"rows.jsonl is a gzip file; convert it to UTF-8 text"),
    "gzip cut off": (gzip.compress(GOOD, mtime=0)[:20], r"rows.jsonl is a gzip file"),
    "parquet": (b"PAR1\x15\x04", r"rows.jsonl is a parquet file"),
    "zip": (b"PK\x03\x04....", r"rows.jsonl is a zip file"),
    "UTF-16": ("{}".encode("utf-16"), r"rows.jsonl is UTF-16 text"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_file_is_refused_with_file_line_and_remedy(kind: str, tmp_path: Path) -> None:
    content, words = MALFORMED[kind]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        list(read_rows(path))
    assert str(path) in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n") + GOOD.strip())
    assert [placed.row["question"] for placed in read_rows(path)] == ["q", "q"]


def test_a_folder_a_missing_file_and_an_impossible_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; a file with one JSON object per line was expected"):
        list(read_rows(tmp_path))
    with pytest.raises(InputError, match=r"does not exist. Paths count from the folder in which the job starts"):
        list(read_rows(tmp_path / "no.jsonl"))
    with pytest.raises(InputError, match="cannot be read: "):
        list(read_rows(tmp_path / ("x" * 300)))
    with pytest.raises(InputError, match="cannot be read: "):
        list(read_rows(Path("a\0b")))


def test_a_pipe_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is not a regular file"):
        list(read_rows(tmp_path / "pipe"))


def test_a_link_is_followed_and_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "rows.jsonl", 2)
    (tmp_path / "link").symlink_to(tmp_path / "rows.jsonl")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    assert len(list(read_rows(tmp_path / "link"))) == 2
    with pytest.raises(InputError, match="cannot be read: Too many levels"):
        list(read_rows(tmp_path / "loop"))
    with pytest.raises(InputError, match="dangling does not exist"):
        list(read_rows(tmp_path / "dangling"))


def test_a_row_that_is_no_example_is_named_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(GOOD * 6 + b'{"question": "q", "choices": ["a", "b"], "answer": 7}\n' + GOOD)
    task = make_task("mine", path=path, test=path)
    bad = {place: str(one) for place, one in task.examples("train") if isinstance(one, RowError)}
    assert bad == {f"{path}:7": "column 'answer' is 7, outside 0..1 (0 is the first choice)."}


def test_without_a_test_file_a_fifth_is_held_out_by_content(tmp_path: Path) -> None:
    path = _write(tmp_path / "mine.jsonl", 50)
    source = FileSource(path)
    train, test = _numbers(source.load("train", None)), _numbers(source.load("test", None))
    assert (len(train), len(test)) == (40, 10)
    assert sorted(train + test) == list(range(50))
    assert test != list(range(10))
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert sorted(_numbers(FileSource(path).load("test", None))) == test


def test_a_file_of_one_row_cannot_be_cut(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 1 row; training and testing on it needs at least 2"):
        FileSource(_write(tmp_path / "mine.jsonl", 1)).load("train", None)


def test_your_own_files_have_two_splits_and_can_be_sliced(tmp_path: Path) -> None:
    source = FileSource(_write(tmp_path / "a.jsonl", 5), _write(tmp_path / "b.jsonl", 3))
    assert _numbers(source.load("train[:2]", None)) == [0, 1]
    assert _numbers(source.load("test", None)) == [0, 1, 2]
    with pytest.raises(InputError, match="has the splits 'train' and 'test', not 'validation'"):
        source.load("validation", None)


def test_generated_rows_are_placed_and_sliced() -> None:
    source = GeneratedSource(rows=lambda split: [{"n": f"{split} {n}"} for n in range(4)], fingerprint="sums-v1")
    rows = list(source.load("train[1:3]", None))
    assert [(each.place, each.row["n"]) for each in rows] == [
        ("sums-v1/train:2", "train 1"),
        ("sums-v1/train:3", "train 2"),
    ]


def test_a_task_on_other_splits_is_a_copy() -> None:
    task = make_task("commonsense_qa", train="validation[:800]", test="validation[800:]")
    assert (task.train, task.test) == ("validation[:800]", "validation[800:]")
    assert get_task("commonsense_qa").train == "train"
    with pytest.raises(InputError, match=r"is not understood"):
        make_task("commonsense_qa", train="")


def test_a_task_survives_pickling(tmp_path: Path) -> None:
    for task in (get_task("boolq"), make_task("mine", path=_write(tmp_path / "mine.jsonl", 5))):
        copy = pickle.loads(pickle.dumps(task))
        assert isinstance(copy, Task)
        assert (copy.name, copy.source, copy.train, copy.test) == (task.name, task.source, task.train, task.test)


def test_the_hub_is_asked_for_the_slice_and_its_rows_are_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(*args: str, **options: str) -> list[dict[str, str]]:
        asked.append((args, options))
        return [{"question": "question 0"}]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    rows = list(HUB.load("validation[800:]", None))
    assert asked == [(("org/set", "main"), {"split": "validation[800:]"})]
    assert rows[0].place == "org/set/main/validation[800:]:1"


def test_an_unreachable_hub_names_the_mirror_as_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*args: str, **options: str) -> None:
        raise ConnectionError("Couldn't reach 'org/set' on the Hub\nmore")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(
        InputError, match=r"ConnectionError: Couldn't reach .* data.mirror=DIR: DIR/org/set/main/train.jsonl"
    ):
        HUB.load("train", None)
