"""The adapted linear map of a layer in thin factors: what a method returns, and what the adapted product computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Factored:
    """The map ``y = out_scale * (W (in_scale * x)) + up down x`` of L lanes, without a dense weight per lane.

    A scale that is None multiplies by 1. Constants that multiply a method's update (alpha / r, a second addition of the
    update) are already in ``up`` or ``down``, where multiplying costs next to nothing.
    """

    up_LOR: Tensor
    down_LRI: Tensor
    out_scale_LO: Tensor | None = None
    in_scale_LI: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        """Return the factors and the scales, without a scale that is None."""
        parts = (self.up_LOR, self.down_LRI, self.out_scale_LO, self.in_scale_LI)
        return [part for part in parts if part is not None]

    def map(self, function: Callable[[Tensor], Tensor]) -> Factored:
        """Return the same map with ``function`` applied to every tensor; a scale that is None stays None."""
        scales = (None if scale is None else function(scale) for scale in (self.out_scale_LO, self.in_scale_LI))
        return Factored(function(self.up_LOR), function(self.down_LRI), *scales)
