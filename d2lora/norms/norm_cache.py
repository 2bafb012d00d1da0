"""The norms of a frozen weight, computed once and kept as long as the weight is the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from d2lora.norms.axes import Axis


@dataclass(frozen=True)
class Known:
    """What is computed once of a weight and an axis; ``zeros`` is where a norm is zero, or None where none is.

    Elsewhere than on a CPU ``zeros`` is always there: to ask would make the host wait for the device.
    """

    norms2: Tensor
    norms: Tensor
    zeros: Tensor | None


class NormCache:
    """The norms of one layer's weight, kept as long as the weight is the same, whoever changes it and how.

    A weight is the same if its memory is, has lived all the while, has not been written to, and is seen in the same
    type and shape. Only a write in place through ``weight.data`` is not seen: torch's own autograd does not see it
    either. A copy of a cache is empty.
    """

    def __init__(self) -> None:
        self._known: dict[Axis, tuple[tuple[object, ...], Known]] = {}

    def of(self, weight_OI: Tensor, axis: Axis) -> Known:
        """Return what is known of ``weight_OI`` along ``axis``, computed now if it was not, or of another weight."""
        import torch

        if torch.compiler.is_compiling() or weight_OI.is_inference():  # neither can tell whether it has been written to
            return _computed(weight_OI, axis)
        now = _identity(weight_OI)
        before, known = self._known.get(axis, ((), None))
        if known is None or before != now:
            with torch.inference_mode(False):  # what is computed while scoring is used in training
                known = _computed(weight_OI, axis)
            self._known[axis] = now, known
        return known

    def __reduce__(self) -> tuple[type[NormCache], tuple[()]]:
        return NormCache, ()


def _identity(weight_OI: Tensor) -> tuple[object, ...]:
    """Return what changes when the weight does: its memory, how often it was written to, and how it is seen.

    The weak reference keeps the address of freed memory from being given to other memory, and nothing more.
    """
    from torch.multiprocessing.reductions import StorageWeakRef

    memory = StorageWeakRef(weight_OI.untyped_storage())  # type: ignore[no-untyped-call]
    seen_as = weight_OI.dtype, weight_OI.device, weight_OI.shape, weight_OI.stride(), weight_OI.storage_offset()
    return memory, weight_OI._version, *seen_as


def _computed(weight_OI: Tensor, axis: Axis) -> Known:
    """Return the norms in bounded memory: some rows at a time."""
    import torch

    from d2lora.device_profile import profile_of

    weight_OI = weight_OI.detach()
    step = max(1, profile_of(weight_OI.device).slice_bytes // (4 * max(1, weight_OI.shape[1])))
    wide = torch.promote_types(weight_OI.dtype, torch.float32)
    squares = (rows_oI.to(wide).square() for rows_oI in torch.split(weight_OI, step))
    if axis == "out":
        norms2 = torch.cat([square_oI.sum(1) for square_oI in squares])
    else:
        first_I, *others = [square_oI.sum(0) for square_oI in squares]
        norms2 = sum(others, start=first_I)
    zeros = norms2 == 0
    may_ask = zeros.device.type == "cpu" and not torch.compiler.is_compiling()
    return Known(norms2, norms2.sqrt(), None if may_ask and not bool(zeros.any()) else zeros)
