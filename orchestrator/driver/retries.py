"""Pure: what is tried again after packs have failed, and in how large packs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.machine.full_memory import is_about_memory
from orchestrator.plan.runs import PlannedRun
from orchestrator.train.pass_size import next_smaller


@dataclass
class Retries:
    """The tries of the runs of one round; each run has ``retries`` of them beside its first.

    A run whose pack had no memory left is trained again in half as large a pack, and alone in half as large micro
    batches, of the same global batch. That spends no retry: the size was at fault, not the run. Any other failure
    spends one, and the run is then trained alone, so that a run that fails takes no other run with it.

    ``micro_batches`` has the rows per micro batch, by run key, of the runs that need fewer than the recipe says.
    """

    retries: int
    spent: dict[str, int] = field(default_factory=dict)
    micro_batches: dict[str, int] = field(default_factory=dict)

    def next_widths(
        self, missing: Sequence[PlannedRun], errors: Mapping[str, str], beside: Mapping[str, int]
    ) -> tuple[list[PlannedRun], dict[str, int]]:
        """Return which of the missing runs are tried again, and at most how many of a task form a pack.

        ``errors`` are the errors of the runs' packs, by run key, and ``beside`` the sizes of these packs.
        """
        again: list[PlannedRun] = []
        widths: dict[str, int] = {}
        for run in missing:
            width = 1
            rows = self.micro_batches.get(run.key, run.spec.optim.micro_batch)
            full = is_about_memory(errors.get(run.key, ""))
            if full and beside.get(run.key, 1) > 1:
                width = beside[run.key] // 2
            elif full and rows > 1:
                self.micro_batches[run.key] = next_smaller(rows)
            else:
                self.spent[run.key] = self.spent.get(run.key, 0) + 1
            if self.spent.get(run.key, 0) <= self.retries:
                again.append(run)
                task = run.spec.task.name
                widths[task] = min(widths.get(task, width), width)
        return again, widths
