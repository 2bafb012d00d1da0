"""The cache of tokens: written once, read back exactly, and damage is noticed."""

from __future__ import annotations

import json
import logging
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.data.prepared import Prepared, load_prepared, prepare
from orchestrator.data.splits import Splits, split_examples
from orchestrator.data.tasks import make_task
from orchestrator.data.texts import tokenizer_digest
from orchestrator.data.tokenise import tokenise
from orchestrator.errors import CorruptCacheError, InputError
from tests.helpers.sums import Characters, splits_of, sum_row


def test_the_digest_of_a_tokenizer_ignores_its_use_and_sees_its_merges(tokenizer: Any, bos_tokenizer: Any) -> None:
    before = tokenizer_digest(tokenizer)
    tokenizer(["a", "b c d"], truncation=True, max_length=2)
    assert tokenizer_digest(tokenizer) == before != tokenizer_digest(bos_tokenizer)
    assert tokenizer_digest(Characters()) == tokenizer_digest(Characters())


# --- the cache


def _prepare(splits: Splits, tokenizer: Any, folder: Path, max_length: int = 64) -> Prepared:
    return prepare(splits, tokenizer, max_length=max_length, cache_dir=folder / "cache")


def test_what_is_prepared_is_read_back_exactly(splits: Splits, tokenizer: Any, tmp_path: Path) -> None:
    prepared = _prepare(splits, tokenizer, tmp_path, max_length=16)
    loaded = load_prepared(prepared.path)
    assert list(loaded) == ["train", "validation", "test"]
    for name, examples in splits.by_name().items():
        assert list(loaded[name]) == list(tokenise(examples, tokenizer, 16))
        assert loaded[name].tokens.dtype == np.int32
    assert prepared.report == splits.report
    assert prepared.truncated == {name: split.truncated for name, split in loaded.items()}
    assert prepared.truncated["train"] > 0
    assert [path.name for path in prepared.path.parent.iterdir()] == [prepared.path.name]


def test_a_second_preparation_encodes_nothing(splits: Splits, tmp_path: Path) -> None:
    first = _prepare(splits, Characters(), tmp_path, 128)

    class Never(Characters):
        def __call__(self, text: list[str], *, add_special_tokens: bool = True) -> Mapping[str, Any]:
            raise AssertionError("encoded again")

    Never.__qualname__ = Characters.__qualname__
    assert _prepare(splits, Never(), tmp_path, 128) == first


def test_the_fingerprint_is_of_the_content_alone(splits: Splits, tokenizer: Any, tmp_path: Path) -> None:
    first = _prepare(splits, tokenizer, tmp_path / "a", 64)
    assert _prepare(splits, tokenizer, tmp_path / "b", 64).fingerprint == first.fingerprint
    assert len(first.fingerprint) == 64
    assert _prepare(splits, tokenizer, tmp_path / "b", 128).fingerprint == first.fingerprint  # nothing was that long
    assert _prepare(splits, tokenizer, tmp_path / "b", 16).fingerprint != first.fingerprint


def test_another_row_tokenizer_or_length_is_another_file(
    splits: Splits, tokenizer: Any, bos_tokenizer: Any, tmp_path: Path
) -> None:
    fewer = splits_of(tmp_path, [sum_row(n) for n in range(59)], [sum_row(n) for n in range(100, 120)])
    paths = {
        _prepare(splits, tokenizer, tmp_path).path,
        _prepare(fewer, tokenizer, tmp_path).path,
        _prepare(splits, bos_tokenizer, tmp_path).path,
        _prepare(splits, tokenizer, tmp_path, 16).path,
    }
    assert len(paths) == 4


DAMAGE = {
    "emptied": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "one bit of the header": lambda content: content[:9] + bytes([content[9] ^ 1]) + content[10:],
    "one bit of the tokens": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "a tail of zeros": lambda content: content[:-64] + bytes(64),
    "something else": lambda content: b"hello",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_noticed_logged_and_made_again(
    damage: str, splits: Splits, tokenizer: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = _prepare(splits, tokenizer, tmp_path)
    content = prepared.path.read_bytes()
    prepared.path.write_bytes(DAMAGE[damage](content))
    with pytest.raises(CorruptCacheError, match="Delete the file and start again"):
        load_prepared(prepared.path)
    with caplog.at_level(logging.WARNING):
        assert _prepare(splits, tokenizer, tmp_path) == prepared
    assert str(prepared.path) in caplog.text
    assert "It is made again" in caplog.text
    assert prepared.path.read_bytes() == content


def test_every_flipped_bit_of_a_prepared_file_is_noticed(splits: Splits, tokenizer: Any, tmp_path: Path) -> None:
    prepared = _prepare(splits, tokenizer, tmp_path)
    content = prepared.path.read_bytes()
    draw = random.Random(0)
    for _ in range(300):
        place, bit = draw.randrange(len(content)), draw.randrange(8)
        prepared.path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
        with pytest.raises(CorruptCacheError):
            load_prepared(prepared.path)


def test_a_prepared_file_under_another_name_is_refused(splits: Splits, tokenizer: Any, tmp_path: Path) -> None:
    prepared = _prepare(splits, tokenizer, tmp_path)
    with pytest.raises(CorruptCacheError, match="is not what was written"):
        load_prepared(prepared.path.rename(prepared.path.with_name("other.safetensors")))
    with pytest.raises(CorruptCacheError, match="cannot be read"):
        load_prepared(prepared.path)


def test_a_cache_folder_that_cannot_be_written_is_an_input_error(splits: Splits, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match=r"Cannot write .* choose another cache folder"):
        _prepare(splits, Characters(), tmp_path, 128)


def test_neither_tasks_nor_data_need_torch() -> None:
    code = "import sys, orchestrator.data.prepared as _; print({'torch', 'transformers', 'datasets'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_bad_rows_are_an_error_that_names_the_way_out_or_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "choices": [f"a{i}", f"b{i}"], "answer": i % 2} for i in range(20)]
    rows[7]["answer"] = 5
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = make_task("mine", path=path)
    with pytest.raises(InputError, match=r"mine\.jsonl:8: .*data\.bad_rows=skip"):
        split_examples(task)
    splits = split_examples(task, skip_bad_rows=True)
    assert splits.report.skipped == 1
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 19
