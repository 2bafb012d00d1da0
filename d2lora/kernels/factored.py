"""An adapted linear map in thin factors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Factored:
    """An adapted linear map without its dense weight, for L lanes: ``y = out_scale * (W (in_scale * x)) + up down x``.

    A scale of None is one. What a method multiplies its update by, a scale or a second addition, is in ``up`` and
    ``down`` already, where it costs next to nothing.
    """

    up_LOR: Tensor
    down_LRI: Tensor
    out_scale_LO: Tensor | None = None
    in_scale_LI: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        """Return the tensors that are there."""
        parts = (self.up_LOR, self.down_LRI, self.out_scale_LO, self.in_scale_LI)
        return [part for part in parts if part is not None]

    def map(self, function: Callable[[Tensor], Tensor]) -> Factored:
        """Return the same with ``function`` applied to every tensor that is there."""
        scales = (None if scale is None else function(scale) for scale in (self.out_scale_LO, self.in_scale_LI))
        return Factored(function(self.up_LOR), function(self.down_LRI), *scales)
