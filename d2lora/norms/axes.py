"""The axes along which norms are taken, and how gradients pass through them."""

from __future__ import annotations

from typing import Literal

Axis = Literal["out", "in"]
NormGrad = Literal["through", "detach"]
