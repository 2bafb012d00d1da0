"""The results that a search has so far."""

from __future__ import annotations

from collections.abc import Collection, Mapping

Results = Mapping[str, float | None]
"""By run key: the last validation accuracy of a run that has ended, None of a diverged one; other runs are absent."""
Scores = Mapping[tuple[str, int], float | None]
"""By setting and seed: the validation accuracy, or None where the run diverged. What is absent is not trained."""
WORST = 0.0
"""What a diverged run scores: a loss against every run that answered anything, and no bonus for what others lost."""


def worth(score: float | None) -> float:
    """Return what a run counts: its accuracy, or ``WORST`` where it diverged."""
    return WORST if score is None else score


Lost = Collection[tuple[str, int]]
"""Runs (setting, seed) that failed and cannot be had now."""
