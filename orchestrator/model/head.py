"""A head in half precision that answers in float32: its logits of 16 to 32 would step by an eighth of a nat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from d2lora.products.autocast import without_autocast
from d2lora.products.in_float32 import product_in_float32


def float32_logits(head: nn.Linear, hidden: Tensor) -> Tensor:
    """Return ``head(hidden)``, of shape (..., V), added up and left in float32; the gradient has hidden's type."""
    with without_autocast(hidden):
        logits = product_in_float32(hidden.reshape(-1, hidden.shape[-1]), head.weight, transposed=True)
        if head.bias is not None:
            logits = logits + head.bias
    return logits.view(*hidden.shape[:-1], -1)


@contextmanager
def answering_in_float32(head: nn.Module) -> Iterator[None]:
    """Within: ``head`` answers in float32, where it is an ``nn.Linear`` in half precision; hooks run as ever.

    A head of another kind, or with a forward of its own, stays as it is.
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
