"""Changes planted under the code for tests of nights: one that moves bits and no accuracy, and a bug in the loss."""

from __future__ import annotations

from typing import Any

HARMLESS, BUG = "harmless", "bug"
FACTORS = {HARMLESS: 1 + 2.0**-20, BUG: -1.0}
"""By what each change multiplies the training loss: an upward rounding, or a loss that training makes larger."""


def losses(kind: str, losses_of: Any) -> Any:
    """Return the function of the training losses with the change in it."""
    factor = FACTORS[kind]
    return lambda logits, wanted: losses_of(logits, wanted) * factor


def digest(kind: str) -> str:
    """Return what the digest of the sources would be if the change stood in them."""
    return f"{kind}-change"[:12]
