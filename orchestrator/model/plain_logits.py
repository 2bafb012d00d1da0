"""What transformers itself computes of one row at a time, and how far from it rows in another layout are."""

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
"""By how many tolerances logits must differ for a base to be refused: in bfloat16, rows beside a row and experts that
change their rank by a rounding move logits; a fault moves them by a good part of their norm."""
SOME = 64  # tokens of a row that show whether a model looks ahead
Pack = Callable[[Sequence[Item]], TokenBatch]


class Plain:
    """The logits of some items' answers by the model's own forward over each choice alone, to compare with.

    InputError for a model that cannot compute a row, that looks ahead, or whose answers need more than its head.
    """

    def __init__(self, model: nn.Module, items: Sequence[Item]) -> None:
        self.model, self.items = model, items
        self.wanted = [self._of(item) for item in items]
        self._refuse_looking_ahead()
        reason = self.why_not(batch_choices, times=GROSS)
        if reason:
            raise InputError(
                f"{type(model).__name__} does not give the logits of an answer without those of its whole row "
                f"({reason}). This architecture is not supported; take another base."
            )

    def why_not(self, pack: Pack, change: Callable[[], None] = lambda: None, times: float = 1) -> str:
        """Return why the items may not be computed as ``pack`` lays them out, after ``change``; "" if they may.

        Their logits differ by more than ``times`` the tolerance, or the architecture's code raises.
        """
        try:
            change()
            far = self._farthest(pack)
        except Exception as error:  # whatever code that knows nothing of it makes of it: that is an answer
            return f"the architecture's code does not take it ({_told(error)})"
        return "" if far <= times * self._limit else f"logits would differ by {far:.2g} of their norm"

    @property
    def _limit(self) -> float:
        return tolerance(next(self.model.parameters()).dtype)

    def _of(self, item: Item) -> Tensor:
        """Return the logits (A, V) of the item's answers."""
        rows = zip(item.choices, item.starts, strict=True)
        return torch.cat([self._logits(ids)[start - 1 : len(ids) - 1] for ids, start in rows])

    def _logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits (T, V) of one row, by a head that answers in float32, as `AnswerModel`'s does.

        Rounded to bfloat16, logits that lie far from zero would differ by more than a fault moves them.
        """
        device = next(self.model.parameters()).device
        head: nn.Module = self.model.get_output_embeddings()  # type: ignore[operator]
        try:
            with torch.no_grad(), answering_in_float32(head):
                logits_TV: Tensor = self.model(input_ids=torch.tensor([ids], device=device), use_cache=False).logits[0]
        except Exception as error:  # whatever the architecture's own code raises on a row that it cannot take
            raise InputError(
                f"{type(self.model).__name__} cannot compute a row of {len(ids)} tokens: {_told(error)}. Lower "
                "data.max_length if shorter rows would do, or take another base."
            ) from error
        return logits_TV.float()

    def _refuse_looking_ahead(self) -> None:
        """Refuse a model whose logits of a token are other ones where more tokens follow: it has seen them."""
        ids = self.items[0].choices[0][:SOME]
        half = max(1, len(ids) // 2)
        far = distance(self._logits(ids)[:half], self._logits(ids[:half]))
        if not far <= GROSS * self._limit:
            raise InputError(
                f"{type(self.model).__name__} computes other logits of a token where others follow it (by {far:.2g} of "
                "their norm): it looks ahead, and its scores would mean nothing. Take a base that is a causal language "
                "model; one whose config says is_decoder: false is none."
            )

    def _farthest(self, pack: Pack) -> float:
        """Return the largest distance of any two items, packed together, from what is wanted; NaN if any is NaN."""
        device = next(self.model.parameters()).device
        far = []
        for begin in range(0, len(self.items), 2):
            packed, wanted_AV = pack(self.items[begin : begin + 2]), torch.cat(self.wanted[begin : begin + 2])
            with torch.no_grad():
                far.append(distance(AnswerModel(self.model)(*packed.inputs(device)), wanted_AV))
        return max(far, key=lambda one: math.inf if math.isnan(one) else one)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
