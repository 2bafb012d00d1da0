"""The scores and verdicts of a run at its rungs, one file per rung, so that a restarted run gets the same verdict.

``runs/<key>/rungs/<step>.json`` has the run's ``score`` at the rung (null if the run diverged before it) and its
``verdicts`` by rule. Neither is changed once it is there: a run that is trained again, beside other runs, is judged by
its first score. In the file a verdict's ``kept`` is called ``places``, as in the first versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator import objects
from orchestrator.files import locked, read_json, write_json
from orchestrator.search.halving import Verdict


@dataclass(frozen=True)
class Rung:
    """One rung of the run in folder ``run``."""

    run: Path
    step: int

    @property
    def score(self) -> float | None:
        """The validation accuracy at the rung, a share; None before it was measured, and for a run that diverged."""
        score = self._read().get("score")
        return None if score is None else float(score)

    @property
    def reached(self) -> bool:
        """Whether the run has come to the rung, or has diverged before it."""
        return "score" in self._read()

    def record(self, score: float | None) -> None:
        """Write the score, unless a score is there; None says that the run diverged before the rung."""
        with locked(self.run):
            there = self._read()
            if there.get("score") is None:
                self._write(there | {"score": score})

    def verdict(self, rule: str) -> Verdict | None:
        """Return the verdict under the rule, or None if there is none yet."""
        verdict = self._read().get("verdicts", {}).get(rule)
        return None if verdict is None else _from_file(verdict)

    def settle(self, rule: str, verdict: Verdict) -> Verdict:
        """Write the verdict, unless an earlier one under this rule is there; return the verdict that is there now."""
        with locked(self.run):
            there = self._read()
            known = there.get("verdicts", {})
            if rule not in known:
                self._write(there | {"verdicts": known | {rule: _for_file(verdict)}})
                return verdict
            return _from_file(known[rule])

    @property
    def _file(self) -> Path:
        return self.run / "rungs" / f"{self.step}.json"

    def _read(self) -> dict[str, Any]:
        objects.fetch_file(self._file)  # a rival's trainer may be on another node
        content = read_json(self._file)
        return content if isinstance(content, dict) else {}

    def _write(self, content: dict[str, Any]) -> None:
        write_json(self._file, {"step": self.step} | content)


def _for_file(verdict: Verdict) -> dict[str, Any]:
    return {"places" if name == "kept" else name: value for name, value in asdict(verdict).items()}


def _from_file(content: dict[str, Any]) -> Verdict:
    return Verdict(**{"kept" if name == "places" else name: value for name, value in content.items()})


def scores_at(runs: Path, keys: Sequence[str], step: int) -> list[float | None]:
    """Return the scores at the step of those runs that have reached it; ``runs`` is the folder of all runs."""
    rungs = (Rung(runs / key, step) for key in keys)
    return [rung.score for rung in rungs if rung.reached]
