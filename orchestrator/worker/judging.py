"""Judging the lanes of a pack at their rungs: rank 0 reads, decides and writes, and every rank hears the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

from orchestrator.search.halving import Contest, Verdict, judge
from orchestrator.search.rungs import Rung, scores_at
from orchestrator.train.engine.engine import Engine

T = TypeVar("T")


class Judge:
    """Judges lanes by their runs' keys; ``runs`` is the folder of all runs. Every rank calls `at` at the same steps."""

    def __init__(self, engine: Engine, runs: Path, contest: Contest, keys: Sequence[str]) -> None:
        self.engine, self.runs, self.contest, self.keys = engine, runs, contest, keys

    def steps(self, total: int) -> tuple[int, ...]:
        """Return the rungs of a run of so many steps."""
        return self.contest.halving.steps(total)

    def at(
        self, step: int, reached: Sequence[int], score: Callable[[list[int]], Mapping[int, float]]
    ) -> dict[int, Verdict]:
        """Return the verdict on each lane that has reached the step.

        ``score`` measures those that have no score from an earlier try. All scores are written before anyone is judged.
        """
        unknown = self._told(lambda: [lane for lane in reached if self._rung(lane, step).score is None])
        fresh = score(unknown) if unknown else {}
        return self._told(lambda: self._judged(step, reached, fresh))

    def lost(self, lane: int, steps: int, total: int) -> None:
        """Note on rank 0 that a lane diverged in its ``steps``-th step: it counts as beaten at the rung before it."""
        ahead = [step for step in self.steps(total) if step >= steps]
        if ahead:
            self._rung(lane, ahead[0]).record(None)

    def _judged(self, step: int, reached: Sequence[int], fresh: Mapping[int, float]) -> dict[int, Verdict]:
        for lane, score in fresh.items():
            self._rung(lane, step).record(score)
        return {lane: self._verdict(lane, step) for lane in reached}

    def _verdict(self, lane: int, step: int) -> Verdict:
        rung, halving = self._rung(lane, step), self.contest.halving
        known, score = rung.verdict(halving.rule), rung.score
        if known is not None:
            return known
        assert score is not None  # noqa: S101 - it was recorded just now
        scores = scores_at(self.runs, self.contest.rivals[self.keys[lane]], step)
        return rung.settle(halving.rule, judge(score, scores, halving.factor))

    def _rung(self, lane: int, step: int) -> Rung:
        return Rung(self.runs / self.keys[lane], step)

    def _told(self, find: Callable[[], T]) -> T:
        """Return what rank 0 finds, on every rank."""
        return cast(T, self.engine.gather(find() if self.engine.rank == 0 else None)[0])
