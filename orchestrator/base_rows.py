"""Whether the prepared rows fit the model: every token has a row of the embedding, every place a position."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from orchestrator.errors import InputError
from orchestrator.shortcuts import longest_row
from orchestrator.tokens import TokenisedSplit

LEARNED = re.compile(r"(^|[._])(wpe|pos|position|positions)([._]|$|_?emb)")
"""What architectures call a table of learned positions."""


def fit_rows(model: nn.Module, rows: Mapping[str, TokenisedSplit], tokenizer: Any) -> list[str]:
    """Return what one should know of the rows; InputError where a token or a place has no row in the model's tables."""
    _tokens_fit(model, rows, tokenizer)
    return _places_fit(model, rows)


def _tokens_fit(model: nn.Module, rows: Mapping[str, TokenisedSplit], tokenizer: Any) -> None:
    table: Any = model.get_input_embeddings()  # type: ignore[operator]
    known = int(table.weight.shape[0])
    for task, items in rows.items():
        largest = int(items.tokens.max(initial=0))
        if largest >= known:
            raise InputError(
                f"{task} has token {largest} ({tokenizer.convert_ids_to_tokens(largest)!r}), and the embedding of "
                f"{type(model).__name__} has {known} rows, 0 to {known - 1}: the tokenizer is not this model's, or "
                "has tokens that were added to it alone. Take the tokenizer that belongs to the weights, or make the "
                "model larger: model.resize_token_embeddings(len(tokenizer)), train the new rows, and save both."
            )


def _places_fit(model: nn.Module, rows: Mapping[str, TokenisedSplit]) -> list[str]:
    config: Any = model.config
    text = config.get_text_config()
    made_for = getattr(text, "max_position_embeddings", None)
    if not isinstance(made_for, int) or getattr(text, "alibi", False):
        return []
    over = {task: longest for task, items in rows.items() if (longest := longest_row(items)) > made_for}
    if not over:
        return []
    task, longest = next(iter(over.items()))
    told = f"{task} has a row of {longest} tokens, and {type(model).__name__} "
    remedy = f"data.max_length={made_for} cuts prompts to that."
    if _learned_positions(model):
        raise InputError(f"{told}has learned {made_for} positions. {remedy}")
    return [f"{told}was made for {made_for} positions (max_position_embeddings). {remedy}"]


def _learned_positions(model: nn.Module) -> bool:
    tables = (name for name, module in model.named_modules() if isinstance(module, nn.Embedding))
    return any(LEARNED.search(name) for name in tables)
