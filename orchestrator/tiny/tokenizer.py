"""The tiny base's tokenizer: a token for every word of the world, letters for everything else."""

from __future__ import annotations

import string
from typing import Any

from orchestrator.tiny.corpus import words

END, PAD, UNKNOWN = "</s>", "<pad>", "<unk>"


def vocabulary() -> dict[str, int]:
    """Return token -> id: specials, the world's words, then single characters, alone and within a word (``##a``)."""
    letters = string.ascii_letters + string.digits
    characters = [*letters, *string.punctuation, *(f"##{letter}" for letter in letters)]
    return {token: index for index, token in enumerate(dict.fromkeys([PAD, END, UNKNOWN, *words(), *characters]))}


def build_tokenizer() -> Any:
    """Return a `PreTrainedTokenizerFast` that cuts at white space and punctuation.

    No token holds white space, so a prompt keeps its tokens whatever choice follows it. Words that are
    not of this world fall to characters, so any ASCII text can be used, if not understood.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece(vocabulary(), unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, unk_token=UNKNOWN)
