"""The validation accuracies by which a search decides, read from the run folders."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from orchestrator.errors import DamagedRunError
from orchestrator.plan.runs import PlannedRun
from orchestrator.recipe.search import Search
from orchestrator.search.halving import stopping_rule
from orchestrator.store.sweep_folder import SweepFolder


class ValidationScores:
    """The validation accuracy of each run that has ended for this sweep's search; each run folder is read once.

    A stopped run counts as ended only if this sweep's own rule stopped it. Under any other rule the run still has to be
    trained, because this sweep's search would not have stopped it there.
    """

    def __init__(self, folder: SweepFolder, runs: Sequence[PlannedRun], search: Search) -> None:
        self._folder, self._unread = folder, list(runs)
        rule = stopping_rule(search)
        self._ends = ("committed", "diverged") if rule is None else ("committed", "diverged", rule)
        self._scores: dict[str, float | None] = {}

    def read(self) -> dict[str, float | None]:
        """Return, by run key, the validation accuracy (a share) of each run that has ended; None if the run diverged.

        A run whose result cannot be read is absent, as if the run had not been trained; its row says why.
        """
        for run in self._unread:
            folder = self._folder.run(run.key)
            if (folder.stopped_by() or folder.ended()) in self._ends:
                with suppress(DamagedRunError):
                    self._scores[run.key] = folder.row()["validation_accuracy"]
        self._unread = [run for run in self._unread if run.key not in self._scores]
        return dict(self._scores)
