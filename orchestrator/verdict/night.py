"""What a night has measured, and what it was measured with: the input of a verdict, and a line of the history.

A night measures three things. The canary: the same few runs, trained anew. The anchors: the unchanged base and the
standing champions, scored on the same test items. The world: everything under the code that may have moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Status = Literal["same_bytes", "within_noise", "better", "worse", "ruler_moved", "incomplete"]
"""The verdict of a night (docs/nightly.md)."""
Cell = tuple[str, str]
"""A (task, label of a method)."""


@dataclass(frozen=True)
class World:
    """What a night ran on.

    ``machine`` is the kind of machine: the name of its GPU or processor, with the number of workers of a run.
    ``versions`` are those of Python, the libraries and the driver by name. ``commit`` names the code for people;
    ``code`` is the digest of its sources. ``base`` is the fingerprint of the base, ``rows`` the fingerprint of each
    task's tokenised rows, ``settings`` a digest of the canary's own recipe (rates, methods, seeds).
    """

    machine: str
    versions: Mapping[str, str]
    commit: str | None
    code: str
    base: str
    rows: Mapping[str, str]
    settings: str


@dataclass(frozen=True)
class CanaryRun:
    """One run of the canary, as its row and its predictions have it.

    ``fresh`` tells a run whose seed belongs to this night alone. The other runs have the same seeds on every night, so
    ``digest`` (over adapter, losses and predictions) is equal as long as nothing moves. ``right`` has "1" or "0" per
    test item; it is "" for a run without a result. ``seconds`` is the training time, ``bytes`` the peak memory.
    """

    task: str
    method: str
    seed: int
    fresh: bool
    status: str
    run_key: str
    digest: str
    right: str
    eval_loss: float | None = None
    seconds: float | None = None
    bytes: int | None = None

    @property
    def cell(self) -> Cell:
        """The cell of the run."""
        return self.task, self.method

    @cached_property
    def accuracy(self) -> float:
        """The share of test items that are right; nan for a run without a result."""
        return self.right.count("1") / len(self.right) if self.right else float("nan")

    @cached_property
    def right_I(self) -> NDArray[np.uint8]:
        """Per test item 1 or 0."""
        return np.frombuffer(self.right.encode(), dtype=np.uint8) - np.uint8(ord("0"))


@dataclass(frozen=True)
class Anchor:
    """The base, or a task's standing champion, scored on the task's test items tonight.

    ``identity`` is the content of the model: the base's fingerprint, or the run key of the champion. ``scores`` is the
    log-likelihood of the right choice per item, in nats; ``right`` as of `CanaryRun`.
    """

    kind: Literal["base", "champion"]
    task: str
    identity: str
    right: str
    scores: Sequence[float]


class Table(NamedTuple):
    """Cells in order, the accuracies of their fresh seeds (nan: no run), and the digests of their fixed runs."""

    cells: tuple[Cell, ...]
    fresh_CF: NDArray[np.float64]
    digests_C: NDArray[np.object_]


@dataclass(frozen=True)
class Night:
    """A night: its date (``YYYY-MM-DD``), its measurements, and for a night that is over its ``status``.

    ``since`` is the first night of the state that ``status`` continues, for "worse" the first bad night. ``told`` tells
    whether people were told of this state. ``broken`` is why a night is incomplete apart from its runs, which speak for
    themselves (an anchor that could not be scored, a frontier that failed); "" for a whole night. ``cells`` are
    the (task, method, status) of the night's cells.
    """

    name: str
    world: World
    runs: Sequence[CanaryRun]
    anchors: Sequence[Anchor] = ()
    broken: str = ""
    status: Status | None = None
    since: str | None = None
    told: bool = False
    renewed: Mapping[str, str] = field(default_factory=dict)
    cells: Sequence[Sequence[str]] = ()

    @cached_property
    def fixed(self) -> Mapping[Cell, Mapping[int, CanaryRun]]:
        """Per cell its runs of every night that have a result, by seed."""
        runs: dict[Cell, dict[int, CanaryRun]] = {}
        for run in self.runs:
            if run.right and not run.fresh:
                runs.setdefault(run.cell, {})[run.seed] = run
        return runs

    @cached_property
    def fresh(self) -> Mapping[Cell, Sequence[float]]:
        """Per cell the accuracies of its runs of this night alone that have a result, in the order of their seeds."""
        runs: dict[Cell, list[float]] = {}
        for run in sorted(self.runs, key=lambda run: run.seed):
            if run.right and run.fresh:
                runs.setdefault(run.cell, []).append(run.accuracy)
        return runs

    @cached_property
    def digests(self) -> Mapping[Cell, Mapping[int, str]]:
        """Per cell the digests of its fixed runs, by seed."""
        return {cell: {seed: run.digest for seed, run in runs.items()} for cell, runs in self.fixed.items()}

    @cached_property
    def table(self) -> Table:
        """The night's cells with their fresh accuracies and their bytes as arrays."""
        cells = tuple(sorted(self.fixed))
        widest = max((len(self.fresh.get(cell, ())) for cell in cells), default=0)
        fresh = np.full((len(cells), widest), np.nan)
        digests = np.empty(len(cells), dtype=object)
        for c, cell in enumerate(cells):
            values = self.fresh.get(cell, ())
            fresh[c, : len(values)] = values
            digests[c] = tuple(sorted(self.digests[cell].items()))
        return Table(cells, fresh, digests)

    @cached_property
    def marks(self) -> Mapping[Cell, str]:
        """Per cell the status that the night's verdict gave it."""
        return {(task, method): status for task, method, status in self.cells}
