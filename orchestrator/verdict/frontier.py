"""Pure: whose results of the whole sweep still stand tonight, by the bytes of the canary.

Every method's results were trained under some bytes of the canary (`Trained`). If tonight's bytes are those, the results
stand, whatever changed under the code. If not, the method is reached: its runs are trained again with the night in their
key. If an earlier night had tonight's bytes (a bug was reverted) and its runs are still there, the sweep goes back to
them and trains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.verdict.night import Night, Status

Signature = Mapping[str, str]
"""The digest of a canary run by ``method/task/seed``, as one string."""


@dataclass(frozen=True)
class Trained:
    """Under which bytes a method's results of the sweep were trained.

    ``night`` is in the runs' keys (``SweepSpec.renewed``); None for runs from before nights. ``ruler`` is
    `ruler_of` the night. ``verified`` is False for runs that were there before the first night and whose code and
    versions are not that night's.
    """

    night: str | None
    signature: Signature
    ruler: str
    verified: bool = True


State = Mapping[str, Sequence[Trained]]
"""Per method all that was trained and is still in the store, the present one last (``nights/frontier.json``)."""


@dataclass(frozen=True)
class Frontier:
    """What happens to the sweep tonight.

    ``renewed`` is for ``SweepSpec.renewed``: a method that is missing has its runs of before nights. ``reached`` are
    the methods that are trained again, ``back`` those that went back to earlier runs, ``kept`` the rest. ``trains`` says
    whether runs that are missing may be trained tonight at all. ``why`` is one sentence. ``state`` is to be written.
    """

    renewed: dict[str, str]
    reached: tuple[str, ...]
    back: tuple[str, ...]
    kept: tuple[str, ...]
    trains: bool
    why: str
    state: dict[str, tuple[Trained, ...]]


def decide(
    state: State,
    tonight: Night,
    status: Status,
    methods: Sequence[str],
    unfinished_confirmation: bool = False,
    verified: bool = True,
    retrain_when_ruler_moves: bool = False,
) -> Frontier:
    """Return what happens to the sweep tonight; ``methods`` are the labels of all methods of the recipe.

    ``verified`` matters on the first night of a method only: whether the sweep's finished runs have tonight's code and
    versions, or there are none.
    """
    raise NotImplementedError


def signature_of(tonight: Night, method: str) -> Signature:
    """Return the method's part of the canary's bytes; for a method without a canary the whole canary's."""
    raise NotImplementedError


def ruler_of(tonight: Night) -> str:
    """Return what results are comparable under: the base and the rows, as one string."""
    raise NotImplementedError
