"""Where prompt and choice meet, whatever the tokenizer does there: all choices are scored over one text, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.data.example import Example, RowError
from orchestrator.data.prepared import Prepared, load_prepared, prepare
from orchestrator.data.splits import split_examples
from orchestrator.data.tasks import make_task
from orchestrator.data.texts import appended_tokens
from orchestrator.data.tokenise import Form, tokenise
from orchestrator.data.tokens import Item
from orchestrator.driver.prepare import describe_rows
from orchestrator.errors import InputError
from orchestrator.model.token_batch import batch_items
from tests.helpers.models.toy_tokenizers import KINDS, PROMPT
from tests.helpers.own_choices import GOOD, file_of, prepare_choices

CHOICES: dict[str, tuple[str, ...]] = {
    "plain": (" yes", " no"),
    "one begins the other": (" New", " New York", " New York of cloud"),
    "one across the border": (" blue", " green lamp", " green"),
    "case": (" Yes", " yes"),
    "Unicode forms": (" caf\u00e9", " cafe\u0301"),
    "joined emoji": (" \U0001f469\u200d\U0001f4bb", " \U0001f469", " \u200d"),
    "zero width": (" \u200b", " yes"),
    "spaces": ("  ", "   "),
    "empty": ("", " yes"),
    "fifty": tuple(f" {n} of river" for n in range(50)),
    "the end itself": (" </s>", " yes</s>", " yes"),
    "the beginning itself": (" <s>", " no"),
    "another line": ("\nyes", " yes"),
    "trailing space": (" yes ", " yes"),
    "long": (" river" * 40, " no"),
    "unknown": (" \u6cb3", " \u4e91"),
}


def check_item(item: Item, example: Example, tokenizer: Any, cut: int) -> None:
    """Hold an item to the tokenizer's own ids and to its own account of which characters they stand for."""
    start = item.starts[0]
    assert set(item.starts) == {start}
    assert len({ids[:start] for ids in item.choices}) == 1
    for choice, ids in zip(example.choices, item.choices, strict=True):
        encoded = tokenizer([example.prompt + choice], return_offsets_mapping=True)
        whole, places = encoded["input_ids"][0], encoded["offset_mapping"][0]
        whole, places = whole[: len(whole) - cut], places[: len(places) - cut]
        dropped = len(whole) - len(ids)
        head = int(whole[0] == tokenizer.bos_token_id) if dropped else 0
        assert list(ids) == whole[:head] + whole[head + dropped :]
        assert len(ids) > start >= 1
        spaces = len(choice) - len(choice.lstrip())
        assert max(end for _, end in places[: start + dropped]) <= len(example.prompt) + spaces  # none of it before


@pytest.mark.parametrize("choices", CHOICES)
@pytest.mark.parametrize("kind", KINDS)
def test_all_choices_are_scored_whole_over_one_text_or_the_row_is_refused(
    kind: str, choices: str, tokenizers: dict[str, Any]
) -> None:
    tokenizer, example = tokenizers[kind], Example(PROMPT, CHOICES[choices], 1)
    for max_length, end in ((400, False), (14, False), (14, True)):
        refused: dict[int, RowError] = {}
        split = tokenise([example], tokenizer, max_length, Form(append_eos=end), refused)
        assert len(split) + len(refused) == 1
        for item in split:
            check_item(item, example, tokenizer, len(split.appended))
            assert max(map(len, item.choices)) + len(item.end) <= max_length
        if refused:
            assert choices in ("empty", "spaces", "zero width", "joined emoji", "long")


def test_a_token_across_the_border_of_one_choice_moves_the_start_of_all(tokenizers: dict[str, Any]) -> None:
    tokenizer = tokenizers["tokens across the border"]
    (item,) = tokenise([Example(PROMPT, CHOICES["one across the border"], 0)], tokenizer, 64)
    scored = [tokenizer.decode(ids[item.starts[0] :]) for ids in item.choices]
    assert scored == [": blue", ": green lamp", ": green"]


def test_a_choice_without_tokens_is_refused_where_another_moves_the_start(tokenizers: dict[str, Any]) -> None:
    """From the common start on the empty choice would have a token: the prompt's colon."""
    with pytest.raises(RowError, match="no token for the choice ''"):
        tokenise([Example(PROMPT, (" green", ""), 0)], tokenizers["tokens across the border"], 64)


def test_an_item_whose_answers_start_apart_cannot_be_made() -> None:
    with pytest.raises(ValueError, match=r"start at \(2, 1\) are scored over different texts"):
        Item(((1, 2, 3), (1, 3)), (2, 1), 0, (1, 1))


def test_one_start_is_the_prompt_that_choices_share(tokenizers: dict[str, Any]) -> None:
    split = tokenise(
        [Example(PROMPT, choices, 0) for choices in (CHOICES["fifty"], CHOICES["one begins the other"])],
        tokenizers["byte pairs over words"],
        400,
    )
    token_batch = batch_items(split[:])
    answers = [len(ids) - item.starts[0] for item in split for ids in item.choices]
    assert token_batch.owner_A.bincount().tolist() == answers
    assert token_batch.wanted_A.tolist() == [
        id_ for item in split for ids in item.choices for id_ in ids[item.starts[0] :]
    ]


# --- what tokenizers append


@pytest.mark.parametrize(
    ("kind", "appended"),
    [
        ("byte pairs", ()),
        ("BOS", ()),
        ("EOS", (2,)),
        ("EOS twice", (2, 2)),
        ("EOS for unknown", (2,)),
        ("no case", (2,)),
    ],
)
def test_what_a_tokenizer_appends_is_seen_and_cut(
    kind: str, appended: tuple[int, ...], tokenizers: dict[str, Any]
) -> None:
    assert appended_tokens(tokenizers[kind]) == appended
    split = tokenise([Example(PROMPT, (" yes", " no"), 0)], tokenizers[kind], 64)
    assert tuple(split.appended) == appended
    assert all(2 not in ids for ids in split[0].choices)


def test_only_what_was_appended_is_cut_from_a_choice_that_is_that_token(tokenizers: dict[str, Any]) -> None:
    (item,) = tokenise([Example(PROMPT, (" </s>", " no"), 0)], tokenizers["EOS twice"], 64)
    assert item.choices[0].count(2) == 1


def test_special_tokens_between_tokens_are_left_alone() -> None:
    class Between:
        bos_token_id = eos_token_id = None

        def __call__(self, text: list[str], *, add_special_tokens: bool = True) -> dict[str, list[list[int]]]:
            between = [9] if add_special_tokens else []
            return {"input_ids": [[*map(ord, each[:1]), *between, *map(ord, each[1:]), *between] for each in text]}

    assert appended_tokens(Between()) in ((), (9,))  # one letter has nothing between
    (item,) = tokenise([Example(PROMPT, (" yes", " no"), 0)], Between(), 64)
    assert item.choices[0][1] == 9
    assert item.choices[0][-1] == 9


# --- rows that a tokenizer cannot take


BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "no token": (("yes", "\u200b"), r"the tokenizer has no token for the choice ' \\u200b'"),
    "twins": (("caf\u00e9", "cafe\u0301"), r"the choices 'caf\\xe9' and 'cafe\\u0301' are the same tokens"),
    "too long": (("yes", "river " * 80), r"data\.max_length=64\. Raise it to \d+ or more"),
}


@pytest.mark.parametrize("kind", BAD)
def test_an_example_that_cannot_be_scored_is_a_bad_row_of_its_line(
    kind: str, tokenizers: dict[str, Any], tmp_path: Path
) -> None:
    choices, words = BAD[kind]
    rows = [*GOOD[:17], choices, *GOOD[17:]]
    tokenizer = tokenizers["no trailing space"]
    with pytest.raises(InputError, match=rf"mine\.jsonl:18: .*{words}.*data\.bad_rows=skip"):
        prepare_choices(tmp_path, tokenizer, rows)
    for _ in range(2):  # made, then found in the cache
        prepared = prepare_choices(tmp_path, tokenizer, rows, skip=True)
        report = prepared.report
        assert (report.skipped, report.train + report.validation + report.test) == (1, 60)
        assert sum(map(len, load_prepared(prepared.path).values())) == 60
        assert "(1 bad rows left out" in describe_rows(prepared)
    with pytest.raises(InputError, match=r"mine\.jsonl:18"):  # what skipping has left in the cache is not taken
        prepare_choices(tmp_path, tokenizer, rows)


@pytest.mark.parametrize("kind", BAD)
def test_many_examples_that_cannot_be_scored_are_not_skipped(
    kind: str, tokenizers: dict[str, Any], tmp_path: Path
) -> None:
    rows = [BAD[kind][0] if n % 3 == 0 else GOOD[n] for n in range(60)]
    for skip in (True, False):
        with pytest.raises(InputError, match=r"20 of 60 rows of .*mine\.jsonl cannot be used, too many") as told:
            prepare_choices(tmp_path, tokenizers["no trailing space"], rows, skip)
        assert "skip" not in str(told.value)


@pytest.mark.parametrize("unreadable", [2, 3])
def test_rows_that_are_no_questions_and_rows_without_tokens_are_judged_together(
    unreadable: int, tokenizers: dict[str, Any], tmp_path: Path
) -> None:
    """Three of 60 are few, however they are bad; each kind by itself would be."""
    rows = [("twice", "twice") if n < unreadable else BAD["no token"][0] if n == 40 else GOOD[n] for n in range(60)]
    if unreadable == 2:
        assert prepare_choices(tmp_path, tokenizers["no trailing space"], rows, skip=True).report.skipped == 3
    else:
        with pytest.raises(InputError, match=r"4 of 60 rows of .*mine\.jsonl cannot be used, too many"):
            prepare_choices(tmp_path, tokenizers["no trailing space"], rows, skip=True)


def _trial(folder: Path, tokenizer: Any, bad_one_in: int, seed: int) -> Prepared:
    """Prepare 20 of 400 rows."""
    rows = [BAD["no token"][0] if n % bad_one_in == 0 else (f"yes {n}", f"no {n}") for n in range(400)]
    few = {"train_samples": 10, "validation_samples": 5, "eval_samples": 5, "split_seed": seed}
    splits = split_examples(make_task("mine", path=file_of(folder, rows)), skip_bad_rows=True, **few)
    return prepare(splits, tokenizer, max_length=64, cache_dir=folder / "cache")


def test_a_small_trial_is_not_refused_where_the_full_run_passes(tokenizers: dict[str, Any], tmp_path: Path) -> None:
    skipped = [_trial(tmp_path, tokenizers["no trailing space"], 20, seed).report.skipped for seed in range(12)]
    assert max(skipped) >= 2  # over one in twenty of the draw


def test_a_draw_of_a_file_that_is_bad_says_how_many_rows_were_looked_at(
    tokenizers: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"\d+ of the 20 rows drawn from .*mine\.jsonl cannot be used, too many"):
        _trial(tmp_path, tokenizers["no trailing space"], 2, 0)


def test_the_length_that_the_message_names_holds_every_answer(tokenizers: dict[str, Any], tmp_path: Path) -> None:
    rows = [(f"yes {n}", "river " * (80 + n)) for n in range(40)]
    with pytest.raises(InputError, match=r"The longest needs data\.max_length=") as told:
        prepare_choices(tmp_path, tokenizers["BOS"], rows)
    needed = int(str(told.value).split("The longest needs data.max_length=")[1].split(".")[0])
    assert prepare_choices(tmp_path, tokenizers["BOS"], rows, max_length=needed).report.train > 0
    with pytest.raises(InputError, match=f"Raise it to {needed}"):
        prepare_choices(tmp_path, tokenizers["BOS"], rows, max_length=needed - 1)


def test_a_split_that_skipping_would_empty_is_refused(tokenizers: dict[str, Any], tmp_path: Path) -> None:
    path, test = file_of(tmp_path, [*GOOD, BAD["no token"][0]]), tmp_path / "test.jsonl"
    test.write_text(json.dumps({"question": "q", "choices": ["yes", "\u200b"], "answer": 0}) + "\n")
    splits = split_examples(make_task("mine", path=path, test=test), skip_bad_rows=True)
    with pytest.raises(InputError, match=r"'mine': no row of test is left, for .*test\.jsonl:1: the tokenizer has no"):
        prepare(splits, tokenizers["no trailing space"], max_length=64, cache_dir=tmp_path / "cache")


def test_twins_of_a_benchmark_are_counted_aloud(tokenizers: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "allenai/winogrande/winogrande_xl"
    folder.mkdir(parents=True)
    for split in ("train", "validation"):
        rows = [
            {"sentence": f"{split} {n}: _ .", "option1": "Ann", "option2": "Bea" if n % 4 else "ann", "answer": "1"}
            for n in range(20)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    splits = split_examples(make_task("winogrande"), mirror=tmp_path)
    prepared = prepare(splits, tokenizers["no case"], max_length=64, cache_dir=tmp_path / "cache")
    assert prepared.report.indistinct == 10
    told = describe_rows(prepared)
    assert "10 with choices that are the same tokens to the base" in told
    assert "1 token cut from the end of every text: </s>" in told
