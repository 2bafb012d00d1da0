"""Questions of realistic length in invented words, and a tokenizer with one token per word."""

import random
from functools import partial
from typing import Any

from orchestrator.data.example import Example
from orchestrator.data.tokens import Item

SPECIAL = ["<pad>", "</s>", "<unk>"]


def word_tokenizer(vocab: int) -> Any:
    """Return a fast tokenizer of ``vocab`` tokens: three special tokens, and the words w0, w1, ..."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pad, end, unknown = SPECIAL
    words = [*SPECIAL, *(f"w{number}" for number in range(vocab - len(SPECIAL)))]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, eos_token=end, unk_token=unknown)


def make_examples(count: int, *, choices: int, vocab: int, seed: int = 0) -> list[Example]:
    """Return questions with prompts of 60-130 words and choices of 5-10 words, within a question n or n + 1 words."""
    draw = random.Random(seed)  # noqa: S311 - no secrets
    text = partial(_text, draw, vocab)
    examples = []
    for _ in range(count):
        length = draw.randint(5, 9)
        ends = tuple(" " + text(length + draw.randint(0, 1)) for _ in range(choices))
        examples.append(Example(text(draw.randint(60, 130)), ends, draw.randrange(choices)))
    return examples


def make_texts(count: int, *, length: int, answer: int, vocab: int, seed: int = 0) -> list[Example]:
    """Return rows like those of `make_items`, but as text: a prompt and one choice of ``answer`` words."""
    draw = random.Random(seed)  # noqa: S311 - no secrets
    text = partial(_text, draw, vocab)
    return [Example(text(length - answer), (" " + text(answer),), 0) for _ in range(count)]


def make_items(count: int, *, length: int, answer: int, vocab: int, seed: int = 0) -> list[Item]:
    """Return rows of ``length`` random tokens; the last ``answer`` tokens are the answer, which is trained."""
    draw = random.Random(seed)  # noqa: S311 - no secrets
    rows = [tuple(draw.randrange(vocab) for _ in range(length)) for _ in range(count)]
    return [Item(choices=(row,), starts=(length - answer,), answer=0, lengths=(answer,)) for row in rows]


def _text(draw: random.Random, vocab: int, words: int) -> str:
    return " ".join(f"w{draw.randrange(vocab - len(SPECIAL))}" for _ in range(words))
