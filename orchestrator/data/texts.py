"""How a tokenizer encodes our texts: without the tokens that it appends, or as turns of its own chat template."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from orchestrator.data.example import Example
from orchestrator.errors import InputError

PROBES = ["a", "no more", "Answer: 12"]
"""The texts that are encoded to see which tokens a tokenizer puts around them."""
REPLY = "forty-two zebras"
"""An answer of words that no chat template writes itself."""
DATE = datetime(2024, 7, 26)
"""The date that every chat template is given. With today's date, the same recipe would be another run tomorrow."""
REPLACED = "".join(f'.replace("%{code}", "{DATE.strftime(f"%{code}")}")' for code in "aAbBdHIjmMpSUwWyY")
# Jinja, as transformers sets it up, removes the newline after a block, so the template that follows is unchanged.
CLOCK = f"{{%- macro strftime_now(format) -%}}{{{{ format{REPLACED} }}}}{{%- endmacro %}}\n"
TURNS = 2
"""The version of how turns are rendered. Raise it when turns are rendered differently."""


class Tokenizer(Protocol):
    """The part of a tokenizer that is used here; every tokenizer of transformers has it."""

    @property
    def bos_token_id(self) -> int | None:
        """The token that begins a text, or None."""

    @property
    def eos_token_id(self) -> int | None:
        """The token that ends a text, or None."""

    def __call__(self, text: list[str], *, add_special_tokens: bool = True) -> Mapping[str, Any]:
        """Return ``{"input_ids": [[...], ...]}``."""


@dataclass(frozen=True)
class Encoder:
    """A tokenizer that encodes texts without the special tokens that it appends to every text.

    special   whether the tokenizer adds its special tokens; False for a chat template, which writes them itself
    appended  the special tokens that the tokenizer appends, which are cut
    head      the tokens that begin every text and stay when a prompt is cut: BOS, or the head of the user's turn
    """

    tokenizer: Tokenizer
    special: bool
    appended: tuple[int, ...]
    head: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: Tokenizer, chat_template: bool = False) -> Encoder:
        """Return the encoder of a tokenizer, after encoding some texts to find ``appended`` and ``head``."""
        if chat_template:
            plain = cls(tokenizer, False, (), ())
            return cls(tokenizer, False, (), plain._turn_head())
        bos = tokenizer.bos_token_id
        return cls(tokenizer, True, appended_tokens(tokenizer), () if bos is None else (bos,))

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Return the ids of each text."""
        encoded: list[list[int]] = self.tokenizer(texts, add_special_tokens=self.special)["input_ids"]
        count, end = len(self.appended), list(self.appended)
        return [list(ids[:-count]) if count and list(ids[-count:]) == end else list(ids) for ids in encoded]

    def _turn_head(self) -> tuple[int, ...]:
        """Return the tokens with which every user turn begins."""
        turns = self.encode([_render(self.tokenizer, probe) for probe in PROBES])
        length = next((at for at, tokens in enumerate(zip(*turns, strict=False)) if len(set(tokens)) > 1), 0)
        return tuple(turns[0][:length])


def appended_tokens(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the special tokens that a tokenizer appends to every text: ``</s>`` of T5, ``[SEP]`` of BERT.

    Appended tokens are the ids that follow the text's own ids. If special tokens stand among the
    text's own ids, nothing is returned.
    """
    with_special, bare = (tokenizer(PROBES, add_special_tokens=special)["input_ids"] for special in (True, False))
    tails = {_tail(list(whole), list(ids)) for whole, ids in zip(with_special, bare, strict=True) if ids}
    return tails.pop() if len(tails) == 1 else ()


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """Return a hash of everything that decides how a tokenizer encodes.

    Padding and truncation are left out, because they change with each use of the tokenizer.
    """
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


def user_turns(examples: Sequence[Example], tokenizer: Tokenizer) -> list[Example]:
    """Return the examples with their prompts as user turns, and their choices joined on as the template joins answers.

    InputError if the tokenizer has no chat template, or if its template takes no user turn.
    """
    check_template(tokenizer)
    return list(_turned(examples, tokenizer))


def check_template(tokenizer: Tokenizer) -> None:
    """Raise InputError for a tokenizer without a chat template."""
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            "data.chat_template=true, but the base's tokenizer has no chat template. Leave data.chat_template out, or "
            "take a base that has one: an instruct model."
        )


def _turned(examples: Sequence[Example], tokenizer: Tokenizer) -> Iterator[Example]:
    joint = _joint(tokenizer)
    words = joint.rstrip()  # every answer begins with these words, so they become part of the prompt
    space = joint[len(words) :]
    for example in examples:
        choices = tuple(space + choice.strip() for choice in example.choices)
        yield Example(_render(tokenizer, example.prompt) + words, choices, example.answer)


def _joint(tokenizer: Tokenizer) -> str:
    """Return the text that the template writes before an assistant's answer, such as a space or an empty thought."""
    asked, answered = _render(tokenizer, "Question"), _render(tokenizer, "Question", REPLY)
    joint, reply, _ = answered.removeprefix(asked).partition(REPLY) if answered.startswith(asked) else ("", "", "")
    return joint if reply else ""


def _render(tokenizer: Any, question: str, answer: str | None = None) -> str:
    """Return the chat template's text of a user turn, up to where the assistant answers; or with the answer's turn."""
    turns = [{"role": "user", "content": question}]
    turns += [{"role": "assistant", "content": answer}] if answer is not None else []
    try:
        template = CLOCK + tokenizer.get_chat_template()
        rendered = tokenizer.apply_chat_template(
            turns, chat_template=template, tokenize=False, add_generation_prompt=answer is None
        )
    except Exception as error:
        raise InputError(
            f"data.chat_template=true, but the template of the base's tokenizer takes no user turn: {error}. Leave "
            "data.chat_template out."
        ) from error
    return str(rendered)


def _tail(whole: list[int], ids: list[int]) -> tuple[int, ...]:
    """Return the ids that follow the last ``ids`` in ``whole``; nothing if ``ids`` do not stand together there."""
    last = len(whole) - len(ids)
    begin = next((at for at in range(last, -1, -1) if whole[at : at + len(ids)] == ids), None)
    return () if begin is None else tuple(whole[begin + len(ids) :])
