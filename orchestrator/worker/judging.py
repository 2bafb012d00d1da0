"""Judge the lanes of a pack at their rungs. Rank 0 reads, decides and writes; every rank gets the same verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

from orchestrator.search.halving import Contest, Verdict, judge
from orchestrator.search.rungs import Rung, scores_at
from orchestrator.train.engine.engine import Engine

T = TypeVar("T")


class Judge:
    """Judges the lanes of a pack. Every rank calls `at` at the same steps, because ranks score together.

    ``runs`` is the folder of all runs, ``keys`` are the run keys of the lanes, in their order.
    """

    def __init__(self, engine: Engine, runs: Path, contest: Contest, keys: Sequence[str]) -> None:
        self.engine, self.runs, self.contest, self.keys = engine, runs, contest, keys

    def steps(self, total: int) -> tuple[int, ...]:
        """Return the rungs of a run of ``total`` steps."""
        return self.contest.halving.steps(total)

    def at(
        self, step: int, reached: Sequence[int], score: Callable[[list[int]], Mapping[int, float]]
    ) -> dict[int, Verdict]:
        """Return the verdict on each lane of ``reached``, the lanes for which ``step`` is a rung.

        ``score`` returns the validation accuracy of lanes; only lanes without a score from an earlier attempt are
        scored. All scores are written before any lane is judged, so lanes of one pack are compared with each other.
        """
        unscored = self._broadcast(lambda: [lane for lane in reached if self._rung(lane, step).score is None])
        fresh = score(unscored) if unscored else {}
        return self._broadcast(lambda: self._judged(step, reached, fresh))

    def lost(self, lane: int, steps: int, total: int) -> None:
        """Note, on rank 0 alone, that a lane of ``total`` steps diverged in step number ``steps``.

        At the next rung that the lane would have reached, its rivals count it as a run that they have beaten.
        """
        next_rung = next((step for step in self.steps(total) if step >= steps), None)
        if next_rung is not None:
            self._rung(lane, next_rung).record(None)

    def _judged(self, step: int, reached: Sequence[int], fresh: Mapping[int, float]) -> dict[int, Verdict]:
        for lane, score in fresh.items():
            self._rung(lane, step).record(score)
        return {lane: self._verdict(lane, step) for lane in reached}

    def _verdict(self, lane: int, step: int) -> Verdict:
        rung, halving = self._rung(lane, step), self.contest.halving
        decided, score = rung.verdict(halving.rule), rung.score
        if decided is not None:
            return decided
        assert score is not None  # noqa: S101 - `_judged` has recorded it
        scores = scores_at(self.runs, self.contest.rivals[self.keys[lane]], step)
        return rung.settle(halving.rule, judge(score, scores, halving.factor))

    def _rung(self, lane: int, step: int) -> Rung:
        return Rung(self.runs / self.keys[lane], step)

    def _broadcast(self, compute: Callable[[], T]) -> T:
        """Call ``compute`` on rank 0 and return its result on every rank."""
        return cast(T, self.engine.gather(compute() if self.engine.rank == 0 else None)[0])
