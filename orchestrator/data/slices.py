"""Split expressions in the hub's notation: ``validation``, ``validation[:800]``, ``train[10%:]``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.errors import InputError

_BOUND = r"-?\d{1,12}%?"
_FORM = re.compile(rf"(?P<name>[A-Za-z0-9_-]{{1,64}})(?P<slice>\[(?P<start>{_BOUND})?:(?P<stop>{_BOUND})?\])?")


@dataclass(frozen=True)
class Slice:
    """A named split, or a slice of a named split.

    ``start`` and ``stop`` are kept as written: a number of rows, or per cent with "%". A negative bound counts from the
    end.
    """

    name: str
    start: str | None = None
    stop: str | None = None
    sliced: bool = False

    def __str__(self) -> str:
        return f"{self.name}[{self.start or ''}:{self.stop or ''}]" if self.sliced else self.name

    def bounds(self, rows: int) -> tuple[int, int]:
        """Return the first row of the slice and the row after its last, counted from 0, in a split of ``rows`` rows.

        Per cents are rounded as the hub's library rounds them. InputError if the slice is empty or beyond the split.
        """
        start = 0 if self.start is None else self._position(self.start, rows)
        stop = rows if self.stop is None else self._position(self.stop, rows)
        if start >= stop:
            raise InputError(
                f"Split {str(self)!r} selects none of the {rows} rows of {self.name!r}. Write a larger slice."
            )
        return start, stop

    def _position(self, bound: str, rows: int) -> int:
        number, whole = (int(bound[:-1]), 100) if bound.endswith("%") else (int(bound), rows)
        if abs(number) > whole:
            raise InputError(
                f"Split {str(self)!r} goes beyond the {rows} rows of {self.name!r}. Write a smaller bound."
            )
        position = round(number * rows / whole) if bound.endswith("%") else number
        return position + rows if bound.startswith("-") else position


def parse_split(expression: str) -> Slice:
    """Return the `Slice` that an expression means; InputError if it is no split expression."""
    match = _FORM.fullmatch(expression)
    if match is None:
        raise InputError(
            f"Split {expression!r} is not understood. Write a name, or a name and a slice: "
            "'validation', 'validation[:800]', 'train[10%:]'."
        )
    return Slice(match["name"], match["start"], match["stop"], match["slice"] is not None)
