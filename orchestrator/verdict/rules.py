"""The thresholds of a verdict, from how many false alarms a year people accept.

Per night the accepted rate is r = false alarms per year / nights per year. A false alarm has to pass two looks on
different seeds: the candidate's, and the confirmation's at level ``confirm_p``. Two kinds of evidence can make a
candidate, and each gets half of r:

- tonight against the baseline: ``candidate_p * confirm_p = r / 2``;
- all nights: the e-detector is above ``candidate_e`` on at most `RETURNS` / ``candidate_e`` of nights without a change,
  so ``RETURNS / candidate_e * confirm_p = r / 2``.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.recipe.nightly_section import NightlySpec

CONFIRM_P = 0.02
"""The level of a confirmation. The candidate carries the rest, because a night's own seeds cost nothing more."""
RETURNS = 3.0
"""How many nights an e-detector without a change stays above a threshold once it is there (docs/nightly.md)."""
LOOSEST = 0.05
"""The highest level of a candidate, whatever the rate."""


@dataclass(frozen=True)
class Rules:
    """When a night is a candidate, when a candidate is confirmed, and when the ruler moved."""

    candidate_p: float
    candidate_e: float
    confirm_p: float = CONFIRM_P
    confirm_seeds: int = 5
    recovered_p: float = 0.01
    still_worse_p: float = 0.05
    ruler_nats: float = 0.05
    ruler_flips: float = 0.01

    @classmethod
    def of(cls, spec: NightlySpec) -> Rules:
        """Return the rules for the rate of false alarms in the recipe."""
        per_night = spec.false_alarms_per_year / spec.nights_per_year
        candidate_p = min(LOOSEST, per_night / 2 / CONFIRM_P)
        return cls(candidate_p, RETURNS / candidate_p, confirm_seeds=spec.confirm_seeds)
