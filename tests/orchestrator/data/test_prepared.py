"""Splits without leakage, tokens without cut answers, and a cache that notices damage."""

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
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from orchestrator.data.example import Example, RowError
from orchestrator.data.prepared import Prepared, load_prepared, prepare
from orchestrator.data.splits import Splits, split_examples
from orchestrator.data.tasks import make_task
from orchestrator.data.texts import tokenizer_digest
from orchestrator.data.tokenise import tokenise
from orchestrator.data.tokens import Item, TokenisedSplit
from orchestrator.errors import CorruptCacheError, InputError

Row = dict[str, Any]


def _row(n: int) -> Row:
    return {"question": f"What is {n} and {n * 7 % 13}?", "choices": ["one", "two", "three or more"], "answer": n % 3}


def _file(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _splits(folder: Path, train: list[Row], test: list[Row], **settings: Any) -> Splits:
    task = make_task("mine", path=_file(folder / "train.jsonl", train), test=_file(folder / "test.jsonl", test))
    return split_examples(task, **settings)


@pytest.fixture
def splits(tmp_path: Path) -> Splits:
    return _splits(tmp_path, [_row(n) for n in range(60)], [_row(n) for n in range(100, 120)])


def _backend() -> Backend:
    corpus = [
        example for n in range(40) for example in (_row(n)["question"], "Question: Answer: one two three or more")
    ]
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<s>"], initial_alphabet=sorted(alphabet), show_progress=False
    )
    backend.train_from_iterator(corpus, trainer)
    return backend


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=_backend())


@pytest.fixture(scope="session")
def bos_tokenizer() -> PreTrainedTokenizerFast:
    backend = _backend()
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>")


class Characters:
    """A tokenizer of one token a character, except that a colon and the space after it are one token."""

    bos_token_id = eos_token_id = None

    def __call__(self, text: list[str], *, add_special_tokens: bool = True) -> Mapping[str, Any]:
        return {"input_ids": [[ord(char) for char in each.replace(": ", "\N{BULLET}")] for each in text]}


# --- splits


def test_the_splits_have_the_sizes_that_were_asked_for(tmp_path: Path) -> None:
    rows, test = [_row(n) for n in range(60)], [_row(n) for n in range(100, 120)]
    splits = _splits(tmp_path, rows, test, train_samples=30, validation_samples=12, eval_samples=5)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (30, 12, 5)
    report = splits.report
    assert (report.read_train, report.read_test, report.duplicates, report.leaked) == (60, 20, 0, 0)
    assert (report.train, report.validation, report.test) == (30, 12, 5)


@pytest.mark.parametrize(("rows", "expected"), [(2, 1), (9, 1), (40, 4), (5999, 500)])
def test_validation_is_a_tenth_at_least_one_row_and_at_most_500(rows: int, expected: int, tmp_path: Path) -> None:
    splits = _splits(tmp_path, [_row(n) for n in range(rows)], [_row(-1)])
    assert len(splits.validation) == expected
    assert len(splits.train) == rows - expected


def test_no_row_is_on_two_sides(tmp_path: Path) -> None:
    shared = [_row(n) for n in range(100, 110)]
    splits = _splits(tmp_path, [_row(n) for n in range(40)] + shared, shared, eval_samples=3)
    prompts = [{example.prompt for example in examples} for examples in splits.by_name().values()]
    assert splits.report.leaked == 10
    assert sum(map(len, prompts)) == len(set.union(*prompts))
    assert not {f"Question: {row['question']}\nAnswer:" for row in shared} & (prompts[0] | prompts[1])


def test_leakage_is_seen_through_case_white_space_and_order_of_the_choices(tmp_path: Path) -> None:
    test = [{"question": "Where  IS it?", "choices": ["Here", "there"], "answer": 0}]
    disguised = {"question": "where is it?", "choices": ["there", "here"], "answer": 1}
    splits = _splits(tmp_path, [*(_row(n) for n in range(5)), disguised], test)
    assert splits.report.leaked == 1


def test_a_repeated_row_is_counted_and_used_once(tmp_path: Path) -> None:
    splits = _splits(tmp_path, [_row(n % 10) for n in range(30)], [_row(99)])
    assert splits.report.duplicates == 20
    assert len({example.prompt for example in splits.train + splits.validation}) == 10


def test_the_same_question_with_other_choices_is_another_row(tmp_path: Path) -> None:
    other = {**_row(0), "choices": ["four", "five"], "answer": 0}
    assert _splits(tmp_path, [_row(0), other, _row(1)], [_row(99)]).report.duplicates == 0


def test_the_same_settings_give_the_same_splits_and_another_split_seed_others(tmp_path: Path) -> None:
    rows, test = [_row(n) for n in range(60)], [_row(n) for n in range(100, 140)]
    first = _splits(tmp_path, rows, test, eval_samples=20)
    assert _splits(tmp_path, rows, test, eval_samples=20) == first
    second = _splits(tmp_path, rows, test, eval_samples=20, split_seed=1)
    assert second.validation != first.validation
    assert second.test != first.test


def test_which_rows_are_chosen_does_not_depend_on_their_order_in_the_file(tmp_path: Path) -> None:
    rows, test = [_row(n) for n in range(60)], [_row(n) for n in range(100, 140)]
    first = _splits(tmp_path, rows, test, train_samples=20, eval_samples=10)
    random.Random(0).shuffle(rows)
    second = _splits(tmp_path, rows, test[::-1], train_samples=20, eval_samples=10)
    for name, examples in first.by_name().items():
        assert {each.prompt for each in second.by_name()[name]} == {each.prompt for each in examples}


def test_fewer_training_samples_are_a_part_of_more_and_leave_validation_alone(tmp_path: Path) -> None:
    rows, test = [_row(n) for n in range(60)], [_row(n) for n in range(100, 140)]
    few = _splits(tmp_path, rows, test, train_samples=10)
    more = _splits(tmp_path, rows, test, train_samples=30)
    assert few.validation == more.validation
    assert set(few.train) < set(more.train)


def test_the_rows_are_not_the_head_of_the_file_and_stand_in_its_order(tmp_path: Path) -> None:
    test = [_row(n) for n in range(100, 200)]
    splits = _splits(tmp_path, [_row(n) for n in range(20)], test, eval_samples=10)
    lines = [int(place.rsplit(":", 1)[1]) for place in splits.places["test"]]
    assert lines == sorted(lines) != list(range(1, 11))
    assert [f"Question: {test[n - 1]['question']}\nAnswer:" for n in lines] == [each.prompt for each in splits.test]


def test_too_few_rows_are_refused_with_the_numbers(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"'mine': 1 row\(s\) of 'train' remain .*\(4 read, 1 repeated, 2 also in test\)"
    ):
        _splits(tmp_path, [_row(0), _row(0), _row(1), _row(2)], [_row(1), _row(2)])
    with pytest.raises(InputError, match=r"data.validation_samples=10 leaves none of 10 rows .* use at most 9"):
        _splits(tmp_path, [_row(n) for n in range(10)], [_row(99)], validation_samples=10)


@pytest.mark.parametrize("key", ["train_samples", "validation_samples", "eval_samples"])
def test_a_sample_count_below_one_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"data\.{key}=0 leaves nothing to work on"):
        _splits(tmp_path, [_row(n) for n in range(10)], [_row(99)], **{key: 0})


# --- tokens


def test_an_answer_is_what_follows_the_tokens_of_its_prompt(splits: Splits, tokenizer: Any) -> None:
    items = tokenise(splits.train, tokenizer, 512)
    for example, item in zip(splits.train, items, strict=True):
        for choice, ids, start in zip(example.choices, item.choices, item.starts, strict=True):
            assert list(ids) == tokenizer(example.prompt + choice)["input_ids"]
            assert tokenizer.decode(ids[start:]) == choice
            assert start == len(tokenizer(example.prompt)["input_ids"])
        assert item.answer == example.answer
        assert item.lengths == (3, 3, 13)
    assert items.truncated == items.indistinct == 0


@pytest.mark.parametrize("max_length", [8, 10, 12, 16])
@pytest.mark.parametrize("kind", ["tokenizer", "bos_tokenizer"])
def test_truncation_never_cuts_an_answer(
    kind: str, max_length: int, splits: Splits, request: pytest.FixtureRequest
) -> None:
    tokenizer = request.getfixturevalue(kind)
    whole, cut = tokenise(splits.train, tokenizer, 512), tokenise(splits.train, tokenizer, max_length)
    assert 0 < cut.truncated <= len(cut)
    for full, short in zip(whole, cut, strict=True):
        for a, b, start_a, start_b in zip(full.choices, short.choices, full.starts, short.starts, strict=True):
            assert a[start_a:] == b[start_b:]
            assert start_b >= 1
            assert len(b) <= max_length
        assert len({b[:start] for b, start in zip(short.choices, short.starts, strict=True)}) == 1  # one prompt for all


def test_truncation_keeps_the_end_of_the_prompt_and_the_bos_token(bos_tokenizer: Any) -> None:
    example = Example("Question: " + "What is this? " * 20 + "\nAnswer:", (" one", " two"), 0)
    (full,), (short,) = tokenise([example], bos_tokenizer, 512), tokenise([example], bos_tokenizer, 16)
    assert full.choices[0][0] == short.choices[0][0] == bos_tokenizer.bos_token_id
    assert short.choices[0][1:] == full.choices[0][-15:]
    assert len(short.choices[0]) == 16


def test_an_answer_that_does_not_fit_is_refused_with_numbers_that_help() -> None:
    example = Example("Question: q\nAnswer:", (" no", " a very long answer"), 0)
    with pytest.raises(RowError, match=r"an answer of 19 tokens .* data.max_length=19. Raise it to 20"):
        tokenise([example], Characters(), 19)
    (item,) = tokenise([example], Characters(), 20)
    assert "".join(map(chr, item.choices[1][item.starts[1] :])).replace("\N{BULLET}", ": ") == ": a very long answer"


def test_a_token_across_the_border_belongs_to_the_answer() -> None:
    (item,) = tokenise([Example("Answer:", (" yes", " no"), 0)], Characters(), 64)
    assert [bytes(choice[start + 1 :]) for choice, start in zip(item.choices, item.starts, strict=True)] == [
        b"yes",
        b"no",
    ]
    assert item.starts == (6, 6)


def test_a_choice_without_tokens_and_a_prompt_without_tokens_are_refused() -> None:
    class Silent(Characters):
        def __call__(self, text: list[str], *, add_special_tokens: bool = True) -> Mapping[str, Any]:
            return {"input_ids": [[ord(char) for char in each if char.isalpha()] for each in text]}

    examples = [Example("Sum:", (" a", " b"), 0), Example("Sum:", (" a", " 12"), 0), Example("1+1:", (" a", " b"), 0)]
    with pytest.raises(RowError, match="the tokenizer has no token for the choice ' 12'"):
        tokenise(examples, Silent(), 64)
    refused: dict[int, RowError] = {}
    left = tokenise(examples, Silent(), 64, refused=refused)
    assert (len(left), left.refused, list(refused)) == (1, 2, [1, 2])
    assert "no token of the prompt stands before the answer" in str(refused[2])


def test_choices_that_are_the_same_to_the_tokenizer_are_counted() -> None:
    class Blind(Characters):
        def __call__(self, text: list[str], *, add_special_tokens: bool = True) -> Mapping[str, Any]:
            return super().__call__([each.lower() for each in text])

    tokens = tokenise([Example("Q:", (" RR", " rr"), 0), Example("Q:", (" a", " b"), 0)], Blind(), 64)
    assert tokens.indistinct == 1


def test_a_max_length_below_two_is_refused() -> None:
    with pytest.raises(InputError, match=r"data.max_length=1 holds no token of prompt and answer"):
        tokenise([], Characters(), 1)


def test_packed_items_come_back_as_they_were_across_chunks_and_by_any_index() -> None:
    items = [Item(((n, 1, 2), (n, 3)), (1, 1), n % 2, (2, 1)) for n in range(7)]
    packed = TokenisedSplit.join([TokenisedSplit.of(items[:3], 1), TokenisedSplit.of(items[3:], 1)])
    assert list(packed) == items
    assert (packed[-1], packed[2:5], packed.truncated) == (items[-1], items[2:5], 2)
    assert list(TokenisedSplit.join([])) == []
    with pytest.raises(IndexError):
        packed[7]


def test_many_rows_are_encoded_like_one(tokenizer: Any) -> None:
    examples = [Example(f"Question: {n}?\nAnswer:", (" one", " two"), 0) for n in range(600)]
    assert [tokenise([example], tokenizer, 64)[0] for example in examples[::97]] == tokenise(examples, tokenizer, 64)[
        ::97
    ]


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
    fewer = _splits(tmp_path, [_row(n) for n in range(59)], [_row(n) for n in range(100, 120)])
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
