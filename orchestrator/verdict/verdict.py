"""What a night concludes: the verdict, its cells, its evidence, and what changed; named as in ``night.json``.

``dataclasses.asdict`` of a `Verdict` gives the keys ``cells``, ``counts``, ``changed``, ``anchors``, ``evidence`` and
``confirmed`` of ``night.json`` as they are. Shares are shares (0.712), differences too (-0.02 is 2 points less).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from orchestrator.verdict.night import Cell, Status

CellStatus = Literal["unchanged", "moved", "suspected", "worse", "better", "never_passed", "new", "too_few", "broken"]
"""What a night says of one cell (docs/nightly.md).

- unchanged: the bytes of all its fixed runs are those of a baseline night; moved: bytes differ, accuracy does not;
- suspected: a candidate that its confirmation did not confirm, or that is not confirmed yet;
- worse, better: confirmed;
- broken: no result tonight, but one earlier; never_passed: no result tonight or earlier; new: its first result;
- too_few: too few runs in the baseline for a test.
"""
Direction = Literal["worse", "better"]


@dataclass(frozen=True)
class CellBaseline:
    """A cell on the nights of the baseline: how many nights, the mean over seeds, its 95 % interval."""

    nights: int
    mean: float | None
    interval: list[float] | None


@dataclass(frozen=True)
class Bytes:
    """Whether the bytes of the cell's fixed runs are those of a baseline night.

    ``equal`` is None without a baseline. ``against`` is the night that was compared with; ``comparable`` says that this
    night is of the same series, so that different bytes mean different code. ``run`` is the seed of the first run that
    differs. The caller fills in the steps, because losses are in files (`bytes.first_difference`).
    """

    equal: bool | None
    against: str | None = None
    comparable: bool = False
    run: int | None = None
    first_step: int | None = None
    step_before: float | None = None
    step_after: float | None = None


@dataclass(frozen=True)
class Flip:
    """A test item that flipped: the share of fixed runs that were right in the baseline, and tonight.

    The caller fills in ``question``, because texts are in files.
    """

    index: int
    before: float
    after: float
    question: str = ""


@dataclass(frozen=True)
class CellVerdict:
    """What the night says of one cell.

    ``difference`` is tonight's mean over all seeds minus the baseline's, ``interval`` its 95 % interval, ``p`` the
    one-sided p of "not worse" with Holm's correction over cells. ``flips`` has at most 20 items, the largest changes
    first. ``seconds`` is the median training time of a run; ``slower`` is that over the median of its own series.
    """

    task: str
    method: str
    status: CellStatus
    accuracy: float | None
    baseline: CellBaseline
    difference: float | None
    interval: list[float] | None
    p: float | None
    nights_in_row: int
    first_bad: str | None
    bytes: Bytes
    flips: tuple[Flip, ...] = ()
    flips_lost: int = 0
    flips_won: int = 0
    seconds: float | None = None
    slower: float | None = None

    @property
    def cell(self) -> Cell:
        """The cell."""
        return self.task, self.method


@dataclass(frozen=True)
class Change:
    """One thing under the code that is not what it was: ``since`` is the first night that had ``after``."""

    what: Literal["commit", "code", "machine", "version", "base", "rows", "settings"]
    name: str
    before: str | None
    after: str | None
    since: str


@dataclass(frozen=True)
class AnchorVerdict:
    """An anchor against the last whole night: ``flips`` counts items, ``median_score_change`` is in nats.

    ``before`` is the accuracy of that night; None where that night had no such anchor.
    """

    kind: Literal["base", "champion"]
    task: str
    accuracy: float
    before: float | None
    median_score_change: float | None
    flips: int
    moved: bool


@dataclass(frozen=True)
class Evidence:
    """How strong the case against the night is: ``p`` of tonight alone, ``e`` of all nights of the baseline together.

    Both are about a loss, joined over ``joined_over`` (cells). None: not looked at, because bytes did not move or there
    was too little to compare. A night is a candidate if ``p <= threshold_p`` or ``e >= threshold_e``.
    """

    p: float | None
    e: float | None
    threshold_p: float
    threshold_e: float
    joined_over: int = 0


@dataclass(frozen=True)
class Candidate:
    """What a confirmation has to show, and on which cells: train fresh seeds of ``cells``.

    ``joint`` tells that these cells are suspected together, ``alone`` which cells are suspected by themselves.
    ``since`` is the night on which the change began, as far as bytes and evidence tell."""

    direction: Direction
    cells: tuple[Cell, ...]
    joint: bool
    alone: tuple[Cell, ...]
    since: str


@dataclass(frozen=True)
class Confirmed:
    """What fresh seeds said of a candidate: ``holds`` if it alarmed again."""

    seeds: int
    p: float | None
    difference: float | None
    interval: list[float] | None
    cells: tuple[Cell, ...]
    holds: bool


@dataclass(frozen=True)
class Culprit:
    """The cell that lost most surely, the first bad night, the last good one, and what changed between the two."""

    task: str
    method: str
    first_bad: str
    last_good: str | None
    changed: tuple[Change, ...]
    flips: tuple[Flip, ...]


@dataclass(frozen=True)
class Verdict:
    """What a night concludes.

    ``since`` is the first night of the state that ``status`` names. ``wants`` is a candidate that is not confirmed yet:
    train the confirmation's fresh seeds and judge again with them. ``baseline`` are the names of the nights compared
    with, ``last_good`` the newest one before a change. ``why`` says in words what made a night incomplete or the ruler
    move; "" otherwise. ``counts`` has how many cells have each status, and ``cells`` for all of them.
    """

    night: str
    status: Status
    since: str
    line: str
    cells: tuple[CellVerdict, ...]
    counts: dict[str, int]
    evidence: Evidence
    changed: tuple[Change, ...] = ()
    anchors: tuple[AnchorVerdict, ...] = ()
    wants: Candidate | None = None
    confirmed: Confirmed | None = None
    culprit: Culprit | None = None
    baseline: tuple[str, ...] = ()
    last_good: str | None = None
    nights_in_row: int = 1
    why: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def is_bad(self) -> bool:
        """Whether the night ends with exit code 1."""
        return self.status in ("worse", "incomplete")
