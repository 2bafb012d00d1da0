"""What a sweep with a budget has spent: worker-seconds in a file of its folder, and which packs may still begin."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock

from orchestrator.driver.prepare import ReadySweep
from orchestrator.driver.repeating import repeating
from orchestrator.errors import DamagedRunError
from orchestrator.files import read_json, write_json
from orchestrator.plan.budget import Budget
from orchestrator.plan.packs import Pack
from orchestrator.prices.table import worker_price
from orchestrator.recipe.spec import SweepSpec
from orchestrator.say import Say
from orchestrator.store.sweep_folder import SweepFolder

EVERY_SECONDS = 10.0  # between two writings of the file: a killed driver loses so much of the account


def budget_of(spec: SweepSpec) -> Budget | None:
    """Return the recipe's budget; None if it has none. InputError if the price table lacks the price."""
    price = worker_price(spec.cluster)
    if spec.budget_usd is None or price is None:
        return None
    return Budget(spec.budget_usd, price.usd)


class Spending:
    """The account of a sweep: the seconds that its trainers are held, times their workers, over all of its starts.

    Runs that had ended before the file was there count by the seconds in their rows.
    """

    def __init__(
        self, ready: ReadySweep, folder: SweepFolder, say: Say, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ready, self._folder, self._say, self._clock = ready, folder, say, clock
        self.budget = budget_of(ready.spec)
        self._metered = 0.0
        if self.budget is not None:
            recorded = read_json(folder.spent)
            known = recorded.get("worker_seconds") if isinstance(recorded, dict) else None
            self._metered = float(known) if isinstance(known, (int, float)) else self._by_rows()

    @property
    def worker_seconds(self) -> float:
        """What the sweep has taken so far."""
        return self._metered

    def line(self) -> str | None:
        """Return a line on the budget and what is spent of it; None without a budget."""
        if self.budget is None:
            return None
        spent = self.budget.cost(self._metered)
        return (
            f"budget: {self.budget.usd:g} USD at {self.budget.price:g} per worker and hour; {spent:.2f} USD are spent"
        )

    def portions(self, packs: Sequence[Pack], trainers: int) -> Iterator[list[Pack]]:
        """Yield portions of the packs, each when the portion before it has ended; without a budget one portion of all.

        A pack that the budget does not pay for is in no portion, and neither is any pack after it.
        """
        if self.budget is None:
            yield list(packs)
            return
        waiting = list(packs)
        while waiting:
            number = self.budget.affordable(self._metered, self._expected(waiting), trainers)
            if not number:
                return
            yield waiting[:number]
            waiting = waiting[number:]

    def left_out(self, packs: Sequence[Pack], begun: Sequence[Pack]) -> dict[str, str]:
        """Return why the runs of packs that have not begun are left out, by run key."""
        if self.budget is None:
            return {}
        names = {pack.name for pack in begun}
        reason = self.budget.reason(self._metered)
        return {run.key: reason for pack in packs if pack.name not in names for run in pack.runs}

    @contextmanager
    def metered(self, held: Callable[[], int]) -> Iterator[None]:
        """Within: the time of the trainers that are held is added, and written now and then and at the end.

        ``held`` says how many trainers hold room now: nodes come and go while packs train. Between two looks the larger
        of the two numbers counts.
        """
        if self.budget is None:
            yield
            return
        last, before, lock = self._clock(), held(), Lock()

        def write() -> None:
            nonlocal last, before
            with lock:
                now, trainers = self._clock(), held()
                self._metered += max(before, trainers) * self._ready.spec.cluster.workers * (now - last)
                last, before = now, trainers
                write_json(self._folder.spent, {"worker_seconds": round(self._metered, 3)})

        thread = None
        try:
            with repeating("spending", write, EVERY_SECONDS, "metering the trainers", self._say) as thread:
                yield
        finally:
            if thread is not None:
                thread.join(EVERY_SECONDS)
            write()

    def _expected(self, packs: Sequence[Pack]) -> list[float] | None:
        """Return the worker-seconds that these packs are expected to take, by what ended runs have taken; None: no run.

        The account over the work of all ended runs: starts, scoring and lost time are in it as they were so far.
        """
        work = self._ready.work
        done = sum(work[run.spec.task.name] for run in self._ready.runs if self._folder.run(run.key).ended())
        if not done or not self._metered:
            return None
        return [self._metered / done * sum(work[run.spec.task.name] for run in pack.runs) for pack in packs]

    def _by_rows(self) -> float:
        seconds = 0.0
        for run in self._ready.runs:
            folder = self._folder.run(run.key)
            if folder.ended():
                seconds += _took(folder.row)
        return seconds * self._ready.spec.cluster.workers


def _took(read: Callable[[], Mapping[str, object]]) -> float:
    """Return the seconds of a run's steps by its row; 0 for a row that cannot be read."""
    try:
        took = read().get("train_seconds")
    except DamagedRunError:
        return 0.0
    return float(took) if isinstance(took, (int, float)) else 0.0
