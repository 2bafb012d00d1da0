"""The named sets of a model's layers, and the name patterns that a recipe's targets stand for."""

from __future__ import annotations

from typing import Any

TARGET_SETS = {
    "attention": ("*.q_proj", "*.k_proj", "*.v_proj", "*.o_proj"),
    "mlp": ("*.gate_proj", "*.up_proj", "*.down_proj"),
}


def joined(targets: Any) -> Any:
    """Return a list of patterns as one comma-separated text; return anything else as it is."""
    if isinstance(targets, list) and targets and all(isinstance(pattern, str) for pattern in targets):
        return ",".join(targets)
    return targets


def targets_of(targets: str) -> list[str]:
    """Return the name patterns of a target set ("attention", "attention+mlp") or of a comma-separated list.

    >>> targets_of("mlp, *.lm_head")
    ['*.gate_proj', '*.up_proj', '*.down_proj', '*.lm_head']
    """
    patterns: list[str] = []
    for part in targets.replace("+", ",").split(","):
        patterns += TARGET_SETS.get(part.strip(), (part.strip(),))
    return patterns
