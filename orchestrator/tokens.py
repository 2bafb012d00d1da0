"""Examples as tokens: every choice after its prompt, cut on the left so that an answer is always whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import InputError
from orchestrator.tasks.example import Example

Array = NDArray[Any]
CHUNK = 256


class Tokenizer(Protocol):
    """What is asked of a tokenizer; every fast tokenizer of transformers is one."""

    @property
    def bos_token_id(self) -> int | None:
        """The token that begins a text, if there is one."""

    def __call__(self, text: list[str]) -> Mapping[str, Any]:
        """Return ``{"input_ids": [[...], ...]}``."""


@dataclass(frozen=True)
class Item:
    """One question in tokens.

    ``choices[k]`` are the ids of prompt and choice ``k`` together, ``starts[k]`` (at least 1) is where its answer
    begins, ``lengths[k]`` how many characters the choice has without the space before it, ``answer`` which is right.
    """

    choices: tuple[tuple[int, ...], ...]
    starts: tuple[int, ...]
    answer: int
    lengths: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class TokenisedSplit(Sequence[Item]):
    """The items of one split in a few flat arrays; an `Item` is made when it is asked for.

    ``tokens`` (int32) holds choice after choice: choice c is ``tokens[token_ends[c - 1]:token_ends[c]]``; item i owns
    the choices from ``choice_ends[i - 1]`` to ``choice_ends[i]``. ``truncated`` items lost some of their prompt;
    in ``indistinct`` items two choices are the same to the tokenizer.
    """

    tokens: Array
    token_ends: Array
    starts: Array
    lengths: Array
    choice_ends: Array
    answers: Array
    truncated: int
    indistinct: int

    @classmethod
    def pack(cls, items: Sequence[Item], truncated: int = 0) -> TokenisedSplit:
        """Return the split of these items."""
        choices = [choice for item in items for choice in item.choices]
        return cls(
            tokens=np.fromiter((token for choice in choices for token in choice), np.int32),
            token_ends=np.cumsum([len(choice) for choice in choices], dtype=np.int64),
            starts=np.array([start for item in items for start in item.starts], np.int32),
            lengths=np.array([length for item in items for length in item.lengths], np.int32),
            choice_ends=np.cumsum([len(item.choices) for item in items], dtype=np.int64),
            answers=np.array([item.answer for item in items], np.int32),
            truncated=truncated,
            indistinct=sum(len(set(item.choices)) < len(item.choices) for item in items),
        )

    @classmethod
    def join(cls, parts: Sequence[TokenisedSplit]) -> TokenisedSplit:
        """Return one split of several, in their order."""
        parts = parts or [cls.pack([])]

        def ends(name: str) -> Array:
            return np.cumsum(np.concatenate([np.diff(getattr(part, name), prepend=0) for part in parts]))

        return cls(
            tokens=np.concatenate([part.tokens for part in parts]),
            token_ends=ends("token_ends"),
            starts=np.concatenate([part.starts for part in parts]),
            lengths=np.concatenate([part.lengths for part in parts]),
            choice_ends=ends("choice_ends"),
            answers=np.concatenate([part.answers for part in parts]),
            truncated=sum(part.truncated for part in parts),
            indistinct=sum(part.indistinct for part in parts),
        )

    def __len__(self) -> int:
        return len(self.answers)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        first, last = _span(self.choice_ends, index)
        return Item(
            choices=tuple(tuple(self.tokens[slice(*_span(self.token_ends, c))].tolist()) for c in range(first, last)),
            starts=tuple(self.starts[first:last].tolist()),
            answer=int(self.answers[index]),
            lengths=tuple(self.lengths[first:last].tolist()),
        )


def tokenise(
    examples: Sequence[Example], tokenizer: Tokenizer, max_length: int, places: Sequence[str] | None = None
) -> TokenisedSplit:
    """Return the examples in tokens, none longer than ``max_length``.

    Prompt and choice are encoded as one text, and the answer is what follows the tokens of the prompt, as lm-eval does.
    Where a token spans the border (a merge of byte pairs), the answer begins with that token, so none of it is lost.
    What is too long loses tokens from the left of its prompt, the same for all choices; a BOS token stays.
    """
    if max_length < 2:
        raise InputError(f"data.max_length={max_length} holds no token of prompt and answer: use at least 2.")
    parts = []
    for begin in range(0, len(examples), CHUNK):
        chunk = examples[begin : begin + CHUNK]
        items: list[Item] = []
        truncated = 0
        for offset, (example, ids) in enumerate(zip(chunk, _encode(chunk, tokenizer), strict=True)):
            place = places[begin + offset] if places else f"row {begin + offset + 1}"
            item, dropped = _item(example, ids, tokenizer.bos_token_id, max_length, place)
            items.append(item)
            truncated += dropped > 0
        parts.append(TokenisedSplit.pack(items, truncated))
    return TokenisedSplit.join(parts)


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """Return a hash of all that decides how a tokenizer encodes; padding and truncation, set by use, are left out."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        content = json.loads(backend.to_str())
        content.update(padding=None, truncation=None)
    else:
        vocabulary: Mapping[str, int] = getattr(tokenizer, "get_vocab", dict)()
        settings = {key: repr(value) for key, value in getattr(tokenizer, "init_kwargs", {}).items()}
        content = {"class": type(tokenizer).__qualname__, "vocabulary": vocabulary, "settings": settings}
    text = json.dumps([content, tokenizer.bos_token_id], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _encode(examples: Sequence[Example], tokenizer: Tokenizer) -> Iterable[list[list[int]]]:
    """Yield for each example the ids of its prompt, then those of the prompt with each choice."""
    texts = [example.prompt + end for example in examples for end in ("", *example.choices)]
    encoded = iter(tokenizer(texts)["input_ids"])
    for example in examples:
        yield [next(encoded) for _ in range(len(example.choices) + 1)]


def _item(example: Example, encoded: list[list[int]], bos: int | None, max_length: int, place: str) -> tuple[Item, int]:
    prompt, *wholes = encoded
    starts = [_common(prompt, whole) for whole in wholes]
    if min(starts) < 1:
        raise InputError(f"{place}: no token of the prompt stands before the answer; an answer needs one to be scored.")
    for choice, whole, start in zip(example.choices, wholes, starts, strict=True):
        if len(whole) == start:
            raise InputError(f"{place}: the tokenizer has no token for the choice {choice!r}.")
    longest = max(map(len, wholes))
    answer = longest - min(starts)
    if answer > max_length - 1:
        raise InputError(
            f"{place}: an answer of {answer} tokens and one of its prompt exceed data.max_length={max_length}. Raise "
            f"it to {answer + 1} or more, or shorten the answer; answers are never cut."
        )
    dropped = max(0, longest - max_length)
    kept = int(bos is not None and prompt[0] == bos)
    cut = tuple(tuple(whole[:kept] + whole[kept + dropped :]) for whole in wholes)
    lengths = tuple(len(choice.lstrip()) for choice in example.choices)
    return Item(cut, tuple(start - dropped for start in starts), example.answer, lengths), dropped


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many ids two sequences share from the left."""
    both = enumerate(zip(first, second, strict=False))
    return next((index for index, (a, b) in both if a != b), min(len(first), len(second)))


def _span(ends: Array, index: int) -> tuple[int, int]:
    return (int(ends[index - 1]) if index else 0), int(ends[index])
