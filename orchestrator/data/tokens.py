"""Questions in tokens: `Item` is one question, `TokenisedSplit` holds the questions of a split in a few flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Item:
    """One question in tokens.

    choices[k]  the ids of prompt and choice k together
    starts[k]   the index of the first token of choice k, at least 1. It is the same for all choices, and before it
                all choices have the same ids.
    answer      the number of the right choice
    lengths[k]  the number of characters of choice k, without the space before it
    end         the ids that follow the right choice in training only

    ValueError if the choices start at different indices.
    """

    choices: tuple[tuple[int, ...], ...]
    starts: tuple[int, ...]
    answer: int
    lengths: tuple[int, ...]
    end: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.starts)) > 1:
            raise ValueError(f"answers that start at {self.starts} are scored over different texts")

    def trained(self) -> tuple[tuple[int, ...], int]:
        """Return the row that is trained: the ids of prompt, right choice and end, and the choice's first index."""
        return self.choices[self.answer] + self.end, self.starts[self.answer]


@dataclass(frozen=True, eq=False)
class TokenisedSplit(Sequence[Item]):
    """The items of one split, as a sequence; they are kept in flat arrays, and indexing makes an `Item`.

    tokens       int32, all choices one after another: choice c is ``tokens[token_ends[c - 1] : token_ends[c]]``
    token_ends   int64, per choice
    starts       int32, per choice: see `Item`
    lengths      int32, per choice: see `Item`
    choice_ends  int64, per item: item i has the choices from ``choice_ends[i - 1]`` up to ``choice_ends[i]``
    answers      int32, per item: see `Item`
    end          int32, the end of every item: see `Item`
    appended     int32, the tokens that the tokenizer appended to every text and that were cut
    truncated    the number of items whose prompt was cut
    indistinct   the number of items with two choices of the same tokens
    refused      the number of examples that could not become items
    """

    tokens: Array
    token_ends: Array
    starts: Array
    lengths: Array
    choice_ends: Array
    answers: Array
    end: Array
    appended: Array
    truncated: int
    indistinct: int
    refused: int

    @classmethod
    def of(
        cls, items: Sequence[Item], truncated: int = 0, *, appended: Sequence[int] = (), refused: int = 0
    ) -> TokenisedSplit:
        """Return the split of these items, which must all have the same end."""
        choices = [choice for item in items for choice in item.choices]
        return cls(
            tokens=np.fromiter((token for choice in choices for token in choice), np.int32),
            token_ends=np.cumsum([len(choice) for choice in choices], dtype=np.int64),
            starts=np.array([start for item in items for start in item.starts], np.int32),
            lengths=np.array([length for item in items for length in item.lengths], np.int32),
            choice_ends=np.cumsum([len(item.choices) for item in items], dtype=np.int64),
            answers=np.array([item.answer for item in items], np.int32),
            end=np.array(items[0].end if items else (), np.int32),
            appended=np.array(appended, np.int32),
            truncated=truncated,
            indistinct=sum(len(set(item.choices)) < len(item.choices) for item in items),
            refused=refused,
        )

    @classmethod
    def join(cls, parts: Sequence[TokenisedSplit]) -> TokenisedSplit:
        """Return one split with the items of several, in order."""
        parts = parts or [cls.of([])]

        def ends(name: str) -> Array:
            return np.cumsum(np.concatenate([np.diff(getattr(part, name), prepend=0) for part in parts]))

        return cls(
            tokens=np.concatenate([part.tokens for part in parts]),
            token_ends=ends("token_ends"),
            starts=np.concatenate([part.starts for part in parts]),
            lengths=np.concatenate([part.lengths for part in parts]),
            choice_ends=ends("choice_ends"),
            answers=np.concatenate([part.answers for part in parts]),
            end=next((part.end for part in parts if len(part)), parts[0].end),
            appended=parts[0].appended,
            truncated=sum(part.truncated for part in parts),
            indistinct=sum(part.indistinct for part in parts),
            refused=sum(part.refused for part in parts),
        )

    def __len__(self) -> int:
        return len(self.answers)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        first, last = _span(self.choice_ends, index)
        return Item(
            choices=tuple(tuple(self.tokens[slice(*_span(self.token_ends, c))].tolist()) for c in range(first, last)),
            starts=tuple(self.starts[first:last].tolist()),
            answer=int(self.answers[index]),
            lengths=tuple(self.lengths[first:last].tolist()),
            end=tuple(self.end.tolist()),
        )


def _span(ends: Array, index: int) -> tuple[int, int]:
    """Return begin and end of part ``index`` of an array whose parts end at ``ends``."""
    return (int(ends[index - 1]) if index else 0), int(ends[index])
