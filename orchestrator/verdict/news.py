"""Whether people are told of a night: once per state, a verdict with the night since which the verdict holds."""

from __future__ import annotations

from collections.abc import Collection

State = tuple[str, str | None]
"""A verdict, and the first night of it."""


def is_new_state(state: State, told: Collection[State], when: Collection[str]) -> bool:
    """Return whether people are told of ``state``.

    They are if its verdict is one of ``when``, and if the state is none of the states of which they were ``told``.
    """
    return state[0] in when and state not in told
