"""Float32 logits from a head with bfloat16 weights.

Rounded to bfloat16, logits between 16 and 32 would be multiples of an eighth of a nat.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from d2lora.products.autocast import without_autocast
from d2lora.products.in_float32 import product_in_float32


def float32_logits(head: nn.Linear, hidden: Tensor) -> Tensor:
    """Return ``head(hidden)`` of shape (..., V), summed and left in float32.

    The gradient with respect to ``hidden`` has the type of ``hidden``.
    """
    with without_autocast(hidden):
        logits = product_in_float32(hidden.reshape(-1, hidden.shape[-1]), head.weight, transposed=True)
        if head.bias is not None:
            logits = logits + head.bias
    return logits.view(*hidden.shape[:-1], -1)


@contextmanager
def answering_in_float32(head: nn.Module) -> Iterator[None]:
    """Within: ``head`` returns float32 logits if it is an ``nn.Linear`` in half precision; its hooks still run.

    A head of another class, or with a forward of its own, is not changed.
    """
    own_forward = type(head).forward is not nn.Linear.forward and type(head).__name__ != "FrozenLinear"
    if not isinstance(head, nn.Linear) or own_forward or "forward" in vars(head) or head.weight.dtype.itemsize >= 4:
        yield
        return
    vars(head)["forward"] = partial(float32_logits, head)
    try:
        yield
    finally:
        del vars(head)["forward"]
