"""The texts of test items that flipped, as the base reads them: tokens are on disk, and its tokenizer makes text of them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from orchestrator.data.prepared import load_prepared
from orchestrator.model.loading import load_tokenizer

LONGEST = 600  # characters of a question in night.json


def questions_of(base: Path, data: Path, indices: Collection[int]) -> dict[int, str]:
    """Return the prompt of each of these test items; ``data`` is the prepared file of the task."""
    if not indices:
        return {}
    tokenizer, items = load_tokenizer(base), load_prepared(data)["test"]
    texts = {}
    for index in indices:
        item = items[index]
        text = str(tokenizer.decode(list(item.choices[0][: item.starts[0]]), skip_special_tokens=True)).strip()
        texts[index] = text if len(text) <= LONGEST else f"...{text[-LONGEST:]}"
    return texts
