"""Small tokenizers of many kinds, trained on a few lines of text."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend
from transformers import PreTrainedTokenizerFast

PROMPT = "Question: What is it?\nAnswer:"
TEXTS = [
    f"Question: What is {n}?\nAnswer: {one} {one} of {other}"
    for n in range(60)
    for one, other in itertools.product(["yes", "no", "New York", "green lamp", "café"], ["river", "cloud"])
]
SPECIAL = ["<unk>", "<s>", "</s>"]


def byte_level(words: bool = True) -> Backend:
    """Return byte pairs within words, or over all borders."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    return backend


def spaced() -> Backend:
    """Return pieces as sentencepiece has them: a mark for the space before, and before the text."""
    backend = Backend(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False))
    return backend


def unigram() -> Backend:
    """Return the likeliest pieces of the whole text: a choice may cut the prompt's last words anew."""
    backend = Backend(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    backend.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    backend.train_from_iterator(TEXTS, trainer)
    return backend


def lower() -> Backend:
    """Return pieces of words without case and accents."""
    backend = Backend(models.WordPiece(unk_token="<unk>"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    )
    return backend


def made(backend: Backend, around: str | None = None, added: list[Any] | None = None, **more: str) -> Any:
    if around is not None:
        special = [(name, backend.token_to_id(name)) for name in SPECIAL]
        backend.post_processor = processors.TemplateProcessing(single=around, special_tokens=special)
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", **more}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    tokenizer.add_tokens(added or [])
    return tokenizer


def stripping() -> Any:
    backend = byte_level()
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace("\u200b", ""), normalizers.Strip(left=False, right=True)]
    )
    return made(backend)


KINDS: dict[str, Callable[[], Any]] = {
    "byte pairs": lambda: made(byte_level()),
    "byte pairs over words": lambda: made(byte_level(words=False)),
    "BOS": lambda: made(byte_level(), "<s> $A"),
    "BOS and EOS": lambda: made(byte_level(), "<s> $A </s>"),
    "EOS": lambda: made(byte_level(), "$A </s>"),
    "EOS twice": lambda: made(byte_level(), "<s> $A </s> </s>"),
    "pieces": lambda: made(spaced()),
    "pieces and EOS": lambda: made(spaced(), "<s> $A </s>"),
    "EOS for unknown": lambda: made(spaced(), "$A </s>", unk_token="</s>"),
    "unigram and EOS": lambda: made(unigram(), "$A </s>"),
    "no case": lambda: made(lower(), "<s> $A </s>"),
    "no trailing space": stripping,
    "tokens across the border": lambda: made(byte_level(), added=[": green", " New York"]),
    "tokens that take spaces": lambda: made(
        byte_level(), "<s> $A </s>", [AddedToken("yes", lstrip=True), AddedToken("Answer:", rstrip=True)]
    ),
}
