"""Whether the prepared rows fit the model: every token has a row of the embedding, every place a position."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from orchestrator.data.tokens import TokenisedSplit
from orchestrator.errors import InputError
from orchestrator.model.shortcuts import longest_row

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
        largest = max(int(items.tokens.max(initial=0)), int(items.end.max(initial=0)))
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
    task, longest = max(((task, longest_row(items)) for task, items in rows.items()), key=lambda one: one[1])
    told = f"{task} has a row of {longest} tokens, and {type(model).__name__} "
    turns_at = _changes_rotation_at(text)
    if turns_at is not None and longest > turns_at:
        raise InputError(
            f"{told}rotates all rows of a pass otherwise where one has more than {turns_at}: a row's scores would "
            f"depend on the rows beside it. data.max_length={turns_at} cuts prompts to that."
        )
    made_for = getattr(text, "max_position_embeddings", None)
    if not isinstance(made_for, int) or longest <= made_for or getattr(text, "alibi", False):
        return []
    remedy = f"data.max_length={made_for} cuts prompts to that."
    if _learns_positions(model, made_for):
        raise InputError(f"{told}has learned {made_for} positions. {remedy}")
    return [f"{told}was made for {made_for} positions (max_position_embeddings): {remedy}"]


def _learns_positions(model: nn.Module, number: int) -> bool:
    """Return whether a table of learned positions is there; some have a few rows more, for padding."""
    tables = ((name, one) for name, one in model.named_modules() if isinstance(one, nn.Embedding))
    return any(LEARNED.search(name) and 0 <= one.num_embeddings - number < 8 for name, one in tables)


def _changes_rotation_at(text: Any) -> int | None:
    """Return how long a row may be before rotary positions of its whole pass change; None where they never do."""
    settings = getattr(text, "rope_parameters", None)
    if not isinstance(settings, dict):
        return None
    each = [one for one in (settings, *settings.values()) if isinstance(one, dict)]
    limits = [
        one.get("original_max_position_embeddings") or getattr(text, "max_position_embeddings", None)
        for one in each
        if "dynamic" in (kind := str(one.get("rope_type"))) or kind == "longrope"  # by the longest row of a pass
    ]
    return min((limit for limit in limits if isinstance(limit, int)), default=None)
