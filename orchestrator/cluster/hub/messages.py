"""What the hub, the ranks of its trainers and the driver tell each other: plain data that Ray pickles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.control import RunEnd


@dataclass(frozen=True)
class Place:
    """Where a rank works: its node, process and actor."""

    node: str
    host: str
    pid: int
    actor: Any


@dataclass(frozen=True)
class Beat:
    """What a rank tells the hub about once a second.

    ``steps`` are the steps done by run key, as far as they are new. ``still`` is for how many seconds the rank's
    training thread has had the same stack; 0 before its first pack. ``told`` is whether the process was told to stop
    (SIGTERM). ``stack`` is the stack of the training thread, if the hub has asked for it; the stacks of all threads
    before the first pack.
    """

    steps: Mapping[str, int] = field(default_factory=dict)
    still: float = 0.0
    told: bool = False
    stack: str = ""


@dataclass(frozen=True)
class Reply:
    """The hub's answer to a beat: whether the rank shall stop, and whether its next beat shall have its stack."""

    stop: bool = False
    stack: bool = False


@dataclass(frozen=True)
class Line:
    """A line for the user."""

    text: str


@dataclass(frozen=True)
class PackEnd:
    """A pack has ended, for good; ``error`` is empty if it ended well."""

    pack: str
    error: str


Event = Line | PackEnd | RunEnd


@dataclass(frozen=True)
class Chunk:
    """What has happened since the driver last asked.

    ``begun`` is whether a trainer has taken a pack of this round, ``finished`` whether all packs have ended,
    ``no_room`` why they ended if not a single trainer had room in time, and ``trainers`` how many trainers hold room.
    """

    steps: Mapping[str, int]
    events: tuple[Event, ...]
    begun: bool
    finished: bool
    no_room: str = ""
    trainers: int = 0
