"""The parts of an adapted layer's half-precision output, or of its input's gradient, before they are added up."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from d2lora.products.by_lane import Sizes


class Composition(NamedTuple):
    """The parts of ``v + deviation * (v - bias) + h up`` with ``v = base + extra``; M counts the rows of all lanes.

    base_MO       the product with the frozen weight, in half precision; it already contains the bias, if there is one
    sizes         lane l owns ``sizes[l]`` consecutive rows
    update        ``h`` (M, R) and ``up`` (L, R, O), in float32; None: no update is added
    deviation_LO  the lanes' scales minus 1, in float32; None: scales of 1
    extra_MO      a second product with the weight, in the type of ``base_MO``: of the change that a scale on the other
                  side makes to the rows; None: no such scale
    bias_O        the bias inside ``base_MO``, which no scale multiplies; None: no bias

    Forward, this is a layer's output. Backward, the same sum over the weight's other side is the input's gradient.
    """

    base_MO: Tensor
    sizes: Sizes
    update: tuple[Tensor, Tensor] | None = None
    deviation_LO: Tensor | None = None
    extra_MO: Tensor | None = None
    bias_O: Tensor | None = None
