"""Tokens without cut answers, from tokenizers that merge across the border of prompt and answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.data.example import Example, RowError
from orchestrator.data.splits import Splits
from orchestrator.data.tokenise import tokenise
from orchestrator.data.tokens import Item, TokenisedSplit
from orchestrator.errors import InputError
from tests.helpers.sums import Characters

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


def test_items_of_a_split_come_back_as_they_were_across_chunks_and_by_any_index() -> None:
    items = [Item(((n, 1, 2), (n, 3)), (1, 1), n % 2, (2, 1)) for n in range(7)]
    split = TokenisedSplit.join([TokenisedSplit.of(items[:3], 1), TokenisedSplit.of(items[3:], 1)])
    assert list(split) == items
    assert (split[-1], split[2:5], split.truncated) == (items[-1], items[2:5], 2)
    assert list(TokenisedSplit.join([])) == []
    with pytest.raises(IndexError):
        split[7]


def test_many_rows_are_encoded_like_one(tokenizer: Any) -> None:
    examples = [Example(f"Question: {n}?\nAnswer:", (" one", " two"), 0) for n in range(600)]
    assert [tokenise([example], tokenizer, 64)[0] for example in examples[::97]] == tokenise(examples, tokenizer, 64)[
        ::97
    ]
