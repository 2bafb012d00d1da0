"""The norms of a frozen weight, computed once and kept for as long as the weight does not change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from d2lora.norms.axes import Axis


@dataclass(frozen=True)
class Norms:
    """The norms of a weight along one axis, their squares, and a mask of the norms that are zero.

    On a CPU ``zeros`` is None if no norm is zero. On other devices ``zeros`` is always the mask: to look whether it is
    empty, the host would have to wait for the device.
    """

    norms2: Tensor
    norms: Tensor
    zeros: Tensor | None


class NormCache:
    """The norms of one layer's weight, computed again whenever the weight has changed.

    A weight has changed if its memory is another, if the memory was freed in between, if it was written to, or if its
    type, shape or device differs. One change goes unnoticed: a write in place through ``weight.data``, which torch's
    own autograd does not notice either. A copy of a cache is empty.
    """

    def __init__(self) -> None:
        self._known: dict[Axis, tuple[tuple[object, ...], Norms]] = {}

    def of(self, weight_OI: Tensor, axis: Axis) -> Norms:
        """Return the norms of ``weight_OI`` along ``axis``: those in the cache, if the weight has not changed since."""
        import torch

        # Under torch.compile and for inference tensors, torch does not count writes, so a change would go unnoticed.
        if torch.compiler.is_compiling() or weight_OI.is_inference():
            return _computed(weight_OI, axis)
        now = _identity(weight_OI)
        before, known = self._known.get(axis, ((), None))
        if known is None or before != now:
            # Training reads norms that were computed while scoring, and autograd refuses inference tensors.
            with torch.inference_mode(False):
                known = _computed(weight_OI, axis)
            self._known[axis] = now, known
        return known

    def __reduce__(self) -> tuple[type[NormCache], tuple[()]]:
        return NormCache, ()


def _identity(weight_OI: Tensor) -> tuple[object, ...]:
    """Return a value that changes when the weight changes: its memory, its count of writes, its type and shape.

    A weak reference to the storage stands for the memory. It does not keep the weight's numbers alive, but it keeps the
    address of the storage object from being used again after the weight is freed. So equal addresses mean equal memory.
    """
    from torch.multiprocessing.reductions import StorageWeakRef

    memory = StorageWeakRef(weight_OI.untyped_storage())  # type: ignore[no-untyped-call]
    view = weight_OI.dtype, weight_OI.device, weight_OI.shape, weight_OI.stride(), weight_OI.storage_offset()
    return memory, weight_OI._version, *view


def _computed(weight_OI: Tensor, axis: Axis) -> Norms:
    """Return the norms, from one slice of the weight's rows at a time, so that temporary memory is bounded."""
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
    can_look = zeros.device.type == "cpu" and not torch.compiler.is_compiling()
    return Norms(norms2, norms2.sqrt(), None if can_look and not bool(zeros.any()) else zeros)
