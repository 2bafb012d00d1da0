"""Check that the prepared rows fit the model: each token has a row in the embedding, each row has enough positions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from orchestrator.data.tokens import TokenisedSplit
from orchestrator.errors import InputError
from orchestrator.model.shortcuts import longest_row

LEARNED = re.compile(r"(^|[._])(wpe|pos|position|positions)([._]|$|_?emb)")
"""The names that architectures give to a table of learned positions."""


def fit_rows(model: nn.Module, rows: Mapping[str, TokenisedSplit], tokenizer: Any) -> list[str]:
    """Return remarks on rows longer than the model was made for; ``rows`` holds the rows of each task, of all splits.

    InputError if a token has no row in the embedding, or if a row has more tokens than there are learned positions.
    """
    _check_tokens(model, rows, tokenizer)
    return _check_lengths(model, rows)


def _check_tokens(model: nn.Module, rows: Mapping[str, TokenisedSplit], tokenizer: Any) -> None:
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


def _check_lengths(model: nn.Module, rows: Mapping[str, TokenisedSplit]) -> list[str]:
    config: Any = model.config
    text = config.get_text_config()
    task, longest = max(((task, longest_row(items)) for task, items in rows.items()), key=lambda pair: pair[1])
    subject = f"{task} has a row of {longest} tokens, and {type(model).__name__} "
    turns_at = _changes_rotation_at(text)
    if turns_at is not None and longest > turns_at:
        raise InputError(
            f"{subject}rotates all rows of a pass differently if a row has more than {turns_at}: a row's scores would "
            f"depend on the rows beside it. data.max_length={turns_at} cuts prompts to that length."
        )
    made_for = getattr(text, "max_position_embeddings", None)
    if not isinstance(made_for, int) or longest <= made_for or getattr(text, "alibi", False):
        return []
    remedy = f"data.max_length={made_for} cuts prompts to that."
    if _learns_positions(model, made_for):
        raise InputError(f"{subject}has learned {made_for} positions. {remedy}")
    return [f"{subject}was made for {made_for} positions (max_position_embeddings): {remedy}"]


def _learns_positions(model: nn.Module, number: int) -> bool:
    """Return whether the model learns ``number`` positions in a table; some tables have a few more, for padding."""
    tables = ((name, table) for name, table in model.named_modules() if isinstance(table, nn.Embedding))
    return any(LEARNED.search(name) and 0 <= table.num_embeddings - number < 8 for name, table in tables)


def _changes_rotation_at(text: Any) -> int | None:
    """Return how many tokens a row may have without changing the rotary positions of other rows; None without limit.

    With rotations of type "dynamic" or "longrope" the longest row of a pass decides how all of its rows are rotated.
    """
    settings = getattr(text, "rope_parameters", None)
    if not isinstance(settings, dict):
        return None
    rotations = [rotation for rotation in (settings, *settings.values()) if isinstance(rotation, dict)]
    limits = [
        rotation.get("original_max_position_embeddings") or getattr(text, "max_position_embeddings", None)
        for rotation in rotations
        if "dynamic" in (kind := str(rotation.get("rope_type"))) or kind == "longrope"
    ]
    return min((limit for limit in limits if isinstance(limit, int)), default=None)
