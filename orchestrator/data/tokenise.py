"""Examples become items: every choice after its prompt in tokens, cut on the left so that an answer is always whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.data.example import Example, RowError
from orchestrator.data.texts import Encoder, Tokenizer, user_turns
from orchestrator.data.tokens import Item, TokenisedSplit
from orchestrator.errors import InputError

CHUNK = 256
"""The number of examples that are encoded in one call of the tokenizer."""


@dataclass(frozen=True)
class Form:
    """The options of how examples become tokens.

    ``chat_template`` puts the prompt into a user turn of the tokenizer's chat template. ``append_eos`` appends the EOS
    token to the answer that is trained. ``distinct`` refuses examples with two choices of the same tokens.
    """

    chat_template: bool = False
    append_eos: bool = False
    distinct: bool = False


class LongAnswerError(RowError):
    """An answer that does not fit into a row; ``needed`` is the ``data.max_length`` that would hold it."""

    def __init__(self, answer: int, kept: int, max_length: int) -> None:
        self.needed = answer + kept
        super().__init__(
            f"an answer of {answer} tokens and {'one' if kept == 1 else kept} of its prompt exceed "
            f"data.max_length={max_length}. Raise it to {self.needed} or more, or shorten the answer; answers "
            "are never cut."
        )


def tokenise(
    examples: Sequence[Example],
    tokenizer: Tokenizer,
    max_length: int,
    form: Form | None = None,
    refused: dict[int, RowError] | None = None,
) -> TokenisedSplit:
    """Return the examples in tokens; no row is longer than ``max_length``.

    Prompt and choice are encoded as one text. All answers start at the first position at which any choice leaves the
    tokens of the prompt. If a token spans the border of prompt and answer (a merge of byte pairs) in some choices, all
    answers start at that token, so that all choices are scored over the same text. Special tokens that the tokenizer
    appends are cut. A row that is too long loses tokens from the left of its prompt, equally many in all choices; BOS
    and the head of a user's turn stay.

    RowError for an example that cannot be scored. With a dict ``refused`` such an example is left out instead, and
    ``refused[index]`` is its error. InputError for a ``max_length`` below 2.
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
    """Makes items of examples, all with the same encoder, length and end."""

    encoder: Encoder
    max_length: int
    end: tuple[int, ...]
    distinct: bool

    def split(self, examples: Sequence[Example], first: int, errors: dict[int, RowError]) -> TokenisedSplit:
        """Return the items of the examples; set ``errors[first + index]`` for an example that becomes no item."""
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
        """Return the item, and how many tokens were cut from its prompt; RowError if the example cannot be scored."""
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
    """Return the EOS token as the end that is trained."""
    if tokenizer.eos_token_id is None:
        raise InputError("data.append_eos=true, but the base's tokenizer has no EOS token: leave data.append_eos out.")
    return (tokenizer.eos_token_id,)


def _encode(examples: Sequence[Example], encoder: Encoder) -> Iterable[list[list[int]]]:
    """Yield, per example, the ids of its prompt, then the ids of its prompt with each choice."""
    encoded = iter(encoder.encode([example.prompt + end for example in examples for end in ("", *example.choices)]))
    for example in examples:
        yield [next(encoded) for _ in range(len(example.choices) + 1)]


def _start(example: Example, prompt: list[int], wholes: list[list[int]]) -> int:
    """Return the first index at which any choice leaves the tokens of the prompt; RowError if a choice has no token."""
    borders = [_common(prompt, whole) for whole in wholes]
    if min(borders) < 1:
        raise RowError("no token of the prompt stands before the answer; an answer needs one to be scored.")
    for choice, whole, border in zip(example.choices, wholes, borders, strict=True):
        if len(whole) == border:
            raise RowError(f"the tokenizer has no token for the choice {choice!a}: give it a text, or remove it.")
    return min(borders)


def _check_distinct(example: Example, item: Item) -> None:
    """Raise RowError if two choices are the same tokens, because a model cannot tell them apart."""
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
    """Return the length of the longest common beginning of two sequences of ids."""
    both = enumerate(zip(first, second, strict=False))
    return next((index for index, (a, b) in both if a != b), min(len(first), len(second)))
