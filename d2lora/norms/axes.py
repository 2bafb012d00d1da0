"""The words of a method's settings about norms: along which axis, and with which gradient."""

from __future__ import annotations

from typing import Literal

Axis = Literal["out", "in"]
"""Which units of a weight (O, I) have a norm: "out", each output unit, over inputs; "in", each input, over outputs."""
NormGrad = Literal["through", "detach"]
"""Backward through a norm: "through" computes the norm's gradient; "detach" treats the norm as a constant."""
