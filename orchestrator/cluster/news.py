"""What the driver knows of the packs at work: steps, ends of runs, and whether a trainer has begun."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.control import RunEnd


class News:
    """The news of a cluster, by run key. The cluster writes, the driver reads from any thread.

    ``steps`` are the optimizer steps that a run has done, ``ends`` how runs ended, ``beside`` in how large a pack a run
    was last trained. ``begun`` is whether a trainer has taken a pack since `begin`, ``trainers`` how many hold room.
    """

    def __init__(self) -> None:
        self.steps: dict[str, int] = {}
        self.ends: dict[str, RunEnd] = {}
        self.beside: dict[str, int] = {}
        self.begun = False
        self.trainers = 0

    def begin(self, beside: Mapping[str, int]) -> None:
        """Note which runs are to be trained now, and in how large packs."""
        self.begun = False
        self.beside |= beside

    def progress(self, steps: Mapping[str, int]) -> None:
        """Note new steps; a run that was put back to a checkpoint has fewer than before."""
        self.steps |= steps

    def ended(self, end: RunEnd) -> None:
        """Note the end of a run."""
        self.ends[end.key] = end
