"""A context in which a model is in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within: ``model`` is in evaluation mode, so dropout is off and two passes give the same logits.

    The model's mode is restored at the end, also after an error.
    """
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
