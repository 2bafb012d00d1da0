"""The tiny base's tokenizer: one token per word of the invented world, one per character for other words."""

from __future__ import annotations

import string
from typing import Any

from orchestrator.tiny.corpus import words

END, PAD, UNKNOWN = "</s>", "<pad>", "<unk>"


def vocabulary() -> dict[str, int]:
    """Return the id of each token: special tokens, the world's words, then characters, alone or in words (``##a``)."""
    letters = string.ascii_letters + string.digits
    characters = [*letters, *string.punctuation, *(f"##{letter}" for letter in letters)]
    return {token: index for index, token in enumerate(dict.fromkeys([PAD, END, UNKNOWN, *words(), *characters]))}


def build_tokenizer() -> Any:
    """Return a `PreTrainedTokenizerFast` that splits texts at white space and punctuation.

    No token contains white space, so a prompt has the same tokens whatever choice follows it. Other words are split
    into characters, so any ASCII text can be encoded.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece(vocabulary(), unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, unk_token=UNKNOWN)
