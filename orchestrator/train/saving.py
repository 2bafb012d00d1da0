"""The wish to save the lanes of a pack, or to save and stop: on which the ranks agree at no extra exchange."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NoReturn, Protocol

import torch
from torch import Tensor


class Wish(IntEnum):
    """The wish of a rank before a step, or of all ranks after the step."""

    NOTHING = 0
    SAVE = 1
    STOP = 2


class Saving(Protocol):
    """Saves lanes after a step. Every rank calls `save` and `stop` at the same steps, because the ranks agree first."""

    def wish(self) -> Wish:
        """Return the wish of this rank: a save is wished by rank 0 alone, a stop by any rank."""

    def save(self, lanes: Sequence[int], diverged: Sequence[int]) -> None:
        """Save these lanes as they are after their latest step, in which the lanes ``diverged`` have left the pack."""

    def stop(self) -> NoReturn:
        """Raise the error that ends a trainer which was told to stop."""


def wish_riders(wish: Wish, losses_L: Tensor) -> Tensor:
    """Return ``losses_L`` and two more numbers, which a step adds up over the ranks: how many wish to save, to stop."""
    wishes = losses_L.new_zeros(2)
    if wish:  # copied to the device in the steps that need it alone
        wishes[wish - 1] = 1
    return torch.cat([losses_L, wishes])


def agreed_wish(totals: Sequence[float]) -> Wish:
    """Return the wish of all ranks from the sums of `wish_riders`: one rank is enough."""
    saves, stops = totals[-2:]
    return Wish.STOP if stops else Wish.SAVE if saves else Wish.NOTHING
