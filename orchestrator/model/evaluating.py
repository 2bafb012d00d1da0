"""A model in evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within: no dropout, so that two passes compute the same; the model's mode comes back, also after an error."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
