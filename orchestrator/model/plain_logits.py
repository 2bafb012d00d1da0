"""The logits that transformers computes for one row at a time, with which the logits of other layouts are compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from orchestrator.data.tokens import Item
from orchestrator.errors import InputError
from orchestrator.model.answer_model import AnswerModel, distance, tolerance
from orchestrator.model.head import answering_in_float32
from orchestrator.model.token_batch import TokenBatch, batch_choices

GROSS = 8
"""A base is refused if logits differ by more than 8 tolerances.

In bfloat16 a row's logits change with the rows beside it, and when rounding changes the choice of experts. A fault
changes the logits much more: by a large share of their norm.
"""
PROBE_TOKENS = 64
"""The tokens of a row on which a model is tested for looking ahead."""
Layout = Callable[[Sequence[Item]], TokenBatch]
"""A way to lay out the choices of some items as one token batch, with answers numbered as in `batch_choices`."""


class PlainLogits:
    """The logits of some items' answers, by the model's own forward over one choice at a time.

    The logits of other layouts are compared with these logits. InputError for a model that cannot compute a row, that
    looks ahead, or whose logits at one position need the head's input at other positions.
    """

    def __init__(self, model: nn.Module, items: Sequence[Item]) -> None:
        self.model, self.items = model, items
        self.wanted = [self._of_answers(item) for item in items]
        self._refuse_looking_ahead()
        reason = self.why_not(batch_choices, times=GROSS)
        if reason:
            raise InputError(
                f"{type(model).__name__} does not give the logits of an answer without those of its whole row "
                f"({reason}). This architecture is not supported; take another base."
            )

    def why_not(self, layout: Layout, change: Callable[[], None] = lambda: None, times: float = 1) -> str:
        """Return why the items may not be computed in ``layout``, after ``change`` has been called; "" if they may.

        The reason is that their logits differ by more than ``times`` the tolerance, or that the architecture's code
        raises an error.
        """
        try:
            change()
            largest = self._largest_distance(layout)
        except Exception as error:  # an architecture that does not know the layout can raise anything
            return f"the architecture's code does not take it ({_first_line(error)})"
        return "" if largest <= times * self._limit else f"logits would differ by {largest:.2g} of their norm"

    @property
    def _limit(self) -> float:
        return tolerance(next(self.model.parameters()).dtype)

    def _of_answers(self, item: Item) -> Tensor:
        """Return the logits (A, V) that predict the answer tokens of all choices of the item."""
        rows = zip(item.choices, item.starts, strict=True)
        return torch.cat([self._logits(ids)[start - 1 : len(ids) - 1] for ids, start in rows])

    def _logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits (T, V) of one row, from a head that answers in float32, as in `AnswerModel`.

        Rounding logits far from zero to bfloat16 would move them by more than a fault does.
        """
        device = next(self.model.parameters()).device
        head: nn.Module = self.model.get_output_embeddings()  # type: ignore[operator]
        try:
            with torch.no_grad(), answering_in_float32(head):
                logits_TV: Tensor = self.model(input_ids=torch.tensor([ids], device=device), use_cache=False).logits[0]
        except Exception as error:  # the architecture's own code can raise anything
            raise InputError(
                f"{type(self.model).__name__} cannot compute a row of {len(ids)} tokens: {_first_line(error)}. Lower "
                "data.max_length if shorter rows would do, or take another base."
            ) from error
        return logits_TV.float()

    def _refuse_looking_ahead(self) -> None:
        """Refuse a model whose logits of a token change when more tokens follow, because it has seen these tokens."""
        ids = self.items[0].choices[0][:PROBE_TOKENS]
        half = max(1, len(ids) // 2)
        moved = distance(self._logits(ids)[:half], self._logits(ids[:half]))
        if not moved <= GROSS * self._limit:
            raise InputError(
                f"{type(self.model).__name__} computes other logits of a token where others follow it (by {moved:.2g} "
                "of their norm): it looks ahead, and its scores would mean nothing. Take a base that is a causal "
                "language model; a base whose config says is_decoder: false is not."
            )

    def _largest_distance(self, layout: Layout) -> float:
        """Return the largest `distance` of logits in ``layout``, of two items per batch; NaN if any is NaN."""
        device = next(self.model.parameters()).device
        distances = []
        for begin in range(0, len(self.items), 2):
            token_batch = layout(self.items[begin : begin + 2])
            wanted_AV = torch.cat(self.wanted[begin : begin + 2])
            with torch.no_grad():
                distances.append(distance(AnswerModel(self.model)(*token_batch.inputs(device)), wanted_AV))
        return max(distances, key=lambda value: math.inf if math.isnan(value) else value)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
