"""The text of test items by their index, read from the tokens that are scored: so index and text belong together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orchestrator.data.prepared import load_prepared
from orchestrator.data.tokens import Item
from orchestrator.model.loading import load_tokenizer


def item_texts(base: Path, prepared: Path, indices: Iterable[int]) -> dict[int, str]:
    """Return question, choices and right choice of test items as one text each, by index.

    ``base`` is the directory of the base, whose tokenizer reads the tokens; ``prepared`` the prepared file of the task.
    """
    items, tokenizer = load_prepared(prepared)["test"], load_tokenizer(base)
    return {index: text_of(items[index], tokenizer) for index in indices if 0 <= index < len(items)}


def text_of(item: Item, tokenizer: Any) -> str:
    """Return an item as ``QUESTION -> choice / choice (right: choice)``.

    What all choices share is the question. A tokenizer may cut a word between prompt and choice, so each choice is the
    rest of its whole text behind the shared part.
    """
    whole = [str(tokenizer.decode(list(choice), skip_special_tokens=True)) for choice in item.choices]
    prompt = str(tokenizer.decode(list(item.choices[0][: item.starts[0]]), skip_special_tokens=True))
    choices = [text[len(prompt) :].strip() if text.startswith(prompt) else text for text in whole]
    return f"{prompt.strip()} -> {' / '.join(choices)} (right: {choices[item.answer]})"
