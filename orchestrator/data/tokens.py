"""Examples as tokens: every choice after its prompt, cut on the left so that an answer is always whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.example import Example, RowError
from orchestrator.data.texts import Encoder, Tokenizer, user_turns
from orchestrator.errors import InputError

Array = NDArray[Any]
CHUNK = 256


@dataclass(frozen=True)
class Form:
    """How examples become tokens.

    ``chat_template`` puts the prompt into a user turn of the tokenizer's template; ``append_eos`` puts the EOS token
    behind the answer that is trained; ``distinct`` refuses examples of which two choices are the same tokens.
    """

    chat_template: bool = False
    append_eos: bool = False
    distinct: bool = False


class LongAnswerError(RowError):
    """An answer that does not fit; ``needed`` is the ``data.max_length`` that would hold it."""

    def __init__(self, answer: int, kept: int, max_length: int) -> None:
        self.needed = answer + kept
        super().__init__(
            f"an answer of {answer} tokens and {'one' if kept == 1 else kept} of its prompt exceed "
            f"data.max_length={max_length}. Raise it to {self.needed} or more, or shorten the answer; answers "
            "are never cut."
        )


@dataclass(frozen=True)
class Item:
    """One question in tokens.

    ``choices[k]`` are the ids of prompt and choice ``k`` together, ``starts[k]`` (at least 1) is where its answer
    begins: at the same place for all, before which all have the same ids. ``lengths[k]`` is how many characters the
    choice has without the space before it, ``answer`` which is right, ``end`` what follows it in training alone.
    """

    choices: tuple[tuple[int, ...], ...]
    starts: tuple[int, ...]
    answer: int
    lengths: tuple[int, ...]
    end: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.starts)) > 1:
            raise ValueError(f"answers that start at {self.starts} are scored over different texts")

    def trained(self) -> tuple[tuple[int, ...], int]:
        """Return the ids of the prompt, its right answer and the end, and where the answer starts."""
        return self.choices[self.answer] + self.end, self.starts[self.answer]


@dataclass(frozen=True, eq=False)
class TokenisedSplit(Sequence[Item]):
    """The items of one split in a few flat arrays; an `Item` is made when it is asked for.

    ``tokens`` (int32) holds choice after choice: choice c is ``tokens[token_ends[c - 1]:token_ends[c]]``; item i owns
    the choices from ``choice_ends[i - 1]`` to ``choice_ends[i]``. ``end`` (int32) is that of every item, and
    ``appended`` (int32) are the tokens that the tokenizer put behind every text and that were cut. ``truncated`` items
    lost some of their prompt; in ``indistinct`` items two choices are the same to the tokenizer; ``refused``
    examples could not become items.
    """

    tokens: Array
    token_ends: Array
    starts: Array
    lengths: Array
    choice_ends: Array
    answers: Array
    end: Array
    appended: Array
    truncated: int
    indistinct: int
    refused: int

    @classmethod
    def of(
        cls, items: Sequence[Item], truncated: int = 0, *, appended: Sequence[int] = (), refused: int = 0
    ) -> TokenisedSplit:
        """Return the split of these items, which all have the same end."""
        choices = [choice for item in items for choice in item.choices]
        return cls(
            tokens=np.fromiter((token for choice in choices for token in choice), np.int32),
            token_ends=np.cumsum([len(choice) for choice in choices], dtype=np.int64),
            starts=np.array([start for item in items for start in item.starts], np.int32),
            lengths=np.array([length for item in items for length in item.lengths], np.int32),
            choice_ends=np.cumsum([len(item.choices) for item in items], dtype=np.int64),
            answers=np.array([item.answer for item in items], np.int32),
            end=np.array(items[0].end if items else (), np.int32),
            appended=np.array(appended, np.int32),
            truncated=truncated,
            indistinct=sum(len(set(item.choices)) < len(item.choices) for item in items),
            refused=refused,
        )

    @classmethod
    def join(cls, parts: Sequence[TokenisedSplit]) -> TokenisedSplit:
        """Return one split of several, in their order."""
        parts = parts or [cls.of([])]

        def ends(name: str) -> Array:
            return np.cumsum(np.concatenate([np.diff(getattr(part, name), prepend=0) for part in parts]))

        return cls(
            tokens=np.concatenate([part.tokens for part in parts]),
            token_ends=ends("token_ends"),
            starts=np.concatenate([part.starts for part in parts]),
            lengths=np.concatenate([part.lengths for part in parts]),
            choice_ends=ends("choice_ends"),
            answers=np.concatenate([part.answers for part in parts]),
            end=next((part.end for part in parts if len(part)), parts[0].end),
            appended=parts[0].appended,
            truncated=sum(part.truncated for part in parts),
            indistinct=sum(part.indistinct for part in parts),
            refused=sum(part.refused for part in parts),
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
            end=tuple(self.end.tolist()),
        )


def tokenise(
    examples: Sequence[Example],
    tokenizer: Tokenizer,
    max_length: int,
    form: Form | None = None,
    refused: dict[int, RowError] | None = None,
) -> TokenisedSplit:
    """Return the examples in tokens, none longer than ``max_length``.

    Prompt and choice are encoded as one text, and the answers begin where the first of them leaves the tokens of the
    prompt. Where a token spans the border (a merge of byte pairs) before some choices, all of them begin with it, so
    that all are scored over the same text. Special tokens that the tokenizer appends are cut. What is too long
    loses tokens from the left of its prompt, the same for all choices; BOS and the head of a user's turn stay.
    An example that cannot be scored raises `RowError`; with a dict ``refused`` it is left out, and its error goes there
    under its index.
    """
    if max_length < 2:
        raise InputError(f"data.max_length={max_length} holds no token of prompt and answer: use at least 2.")
    form = form or Form()
    end = _end(tokenizer) if form.append_eos else ()
    texts = user_turns(examples, tokenizer) if form.chat_template else examples
    maker = _Maker(Encoder.of(tokenizer, form.chat_template), max_length, end, form.distinct)
    errors: dict[int, RowError] = {}
    parts = [maker.split(texts[begin : begin + CHUNK], begin, errors) for begin in range(0, len(texts), CHUNK)]
    if errors and refused is None:
        raise next(iter(errors.values()))
    if refused is not None:
        refused.update(errors)
    return TokenisedSplit.join(parts or [TokenisedSplit.of([], appended=maker.encoder.appended)])


@dataclass(frozen=True)
class _Maker:
    """Items out of examples, all by the same rules."""

    encoder: Encoder
    max_length: int
    end: tuple[int, ...]
    distinct: bool

    def split(self, examples: Sequence[Example], first: int, errors: dict[int, RowError]) -> TokenisedSplit:
        """Return the examples that become items; the others' errors go into ``errors``, numbered from ``first``."""
        items: list[Item] = []
        truncated = 0
        for index, (example, ids) in enumerate(zip(examples, _encode(examples, self.encoder), strict=True), first):
            try:
                item, dropped = self.item(example, ids)
            except RowError as error:
                errors[index] = error
                continue
            items.append(item)
            truncated += dropped > 0
        refused = len(examples) - len(items)
        return TokenisedSplit.of(items, truncated, appended=self.encoder.appended, refused=refused)

    def item(self, example: Example, encoded: list[list[int]]) -> tuple[Item, int]:
        """Return the item and how many tokens its prompt lost; `RowError` where it cannot be scored."""
        prompt, *wholes = encoded
        start = _start(example, prompt, wholes)
        longest = max(map(len, wholes)) + len(self.end)
        head = self.encoder.head
        kept = len(head) if start >= len(head) and tuple(prompt[: len(head)]) == head else 0
        if longest - start > self.max_length - max(1, kept):
            raise LongAnswerError(longest - start, max(1, kept), self.max_length)
        dropped = max(0, longest - self.max_length)
        cut = tuple(tuple(whole[:kept] + whole[kept + dropped :]) for whole in wholes)
        lengths = tuple(len(choice.lstrip()) for choice in example.choices)
        item = Item(cut, (start - dropped,) * len(cut), example.answer, lengths, self.end)
        if self.distinct:
            _check_distinct(example, item)
        return item, dropped


def _end(tokenizer: Tokenizer) -> tuple[int, ...]:
    if tokenizer.eos_token_id is None:
        raise InputError("data.append_eos=true, but the base's tokenizer has no EOS token: leave data.append_eos out.")
    return (tokenizer.eos_token_id,)


def _encode(examples: Sequence[Example], encoder: Encoder) -> Iterable[list[list[int]]]:
    """Yield for each example the ids of its prompt, then those of the prompt with each choice."""
    encoded = iter(encoder.encode([example.prompt + end for example in examples for end in ("", *example.choices)]))
    for example in examples:
        yield [next(encoded) for _ in range(len(example.choices) + 1)]


def _start(example: Example, prompt: list[int], wholes: list[list[int]]) -> int:
    """Return where the first choice leaves the tokens of the prompt; `RowError` where a choice has no token."""
    borders = [_common(prompt, whole) for whole in wholes]
    if min(borders) < 1:
        raise RowError("no token of the prompt stands before the answer; an answer needs one to be scored.")
    for choice, whole, border in zip(example.choices, wholes, borders, strict=True):
        if len(whole) == border:
            raise RowError(f"the tokenizer has no token for the choice {choice!a}: give it a text, or remove it.")
    return min(borders)


def _check_distinct(example: Example, item: Item) -> None:
    """Raise `RowError` where two choices are the same tokens: none of them could be chosen for its own sake."""
    seen: dict[tuple[int, ...], str] = {}
    for choice, ids in zip(example.choices, item.choices, strict=True):
        if ids in seen:
            raise RowError(
                f"the choices {seen[ids].strip()!a} and {choice.strip()!a} are the same tokens. The base's tokenizer "
                "may pass over case, spaces, Unicode form or characters that it does not know: remove one of them, "
                "or write them so that it tells them apart."
            )
        seen[ids] = choice


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many ids two sequences share from the left."""
    both = enumerate(zip(first, second, strict=False))
    return next((index for index, (a, b) in both if a != b), min(len(first), len(second)))


def _span(ends: Array, index: int) -> tuple[int, int]:
    return (int(ends[index - 1]) if index else 0), int(ends[index])
