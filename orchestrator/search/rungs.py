"""What happened at a run's rungs: a small file each in its folder, so that a restarted run meets what was decided.

``runs/<key>/rungs/<step>.json`` has the run's ``score`` there (null: it diverged on its way) and ``verdicts`` by rule.
Neither is changed once it is there: a run that is trained again, in other company, is judged by what it first showed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.files import locked, read_json, write_json
from orchestrator.search.halving import Verdict


@dataclass(frozen=True)
class Rung:
    """One rung of the run in folder ``run``."""

    run: Path
    step: int

    @property
    def score(self) -> float | None:
        """The validation accuracy there, a share; None before there is one, and of a run that diverged."""
        found = self._read().get("score")
        return None if found is None else float(found)

    @property
    def reached(self) -> bool:
        """Whether the run has been here, or has diverged on its way."""
        return "score" in self._read()

    def record(self, score: float | None) -> None:
        """Keep the score, unless there is one; None says that the run diverged on its way here."""
        with locked(self.run):
            there = self._read()
            if there.get("score") is None:
                self._write(there | {"score": score})

    def verdict(self, rule: str) -> Verdict | None:
        """Return what was decided under the rule, or None."""
        found = self._read().get("verdicts", {}).get(rule)
        return None if found is None else Verdict(**found)

    def settle(self, rule: str, verdict: Verdict) -> Verdict:
        """Keep the verdict, unless the rule has one; return the one that holds."""
        with locked(self.run):
            there = self._read()
            known = there.get("verdicts", {})
            if rule not in known:
                self._write(there | {"verdicts": known | {rule: asdict(verdict)}})
                return verdict
            return Verdict(**known[rule])

    @property
    def _file(self) -> Path:
        return self.run / "rungs" / f"{self.step}.json"

    def _read(self) -> dict[str, Any]:
        found = read_json(self._file)
        return found if isinstance(found, dict) else {}

    def _write(self, content: dict[str, Any]) -> None:
        write_json(self._file, {"step": self.step} | content)


def scores_at(runs: Path, keys: Sequence[str], step: int) -> list[float | None]:
    """Return the scores of those of these runs that have reached the step; ``runs`` is the folder of all."""
    rungs = (Rung(runs / key, step) for key in keys)
    return [rung.score for rung in rungs if rung.reached]
