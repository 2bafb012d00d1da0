"""A night's verdict from the nights before it: incomplete, ruler moved, same bytes, within noise, better or worse."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from orchestrator.verdict.night import CanaryRun, Night
from orchestrator.verdict.rules import Rules
from orchestrator.verdict.verdict import Verdict


def judge(
    history: Sequence[Night],
    tonight: Night,
    rules: Rules,
    confirmation: Sequence[CanaryRun] | None = None,
    accepted: Collection[str] = (),
) -> Verdict:
    """Return the verdict of ``tonight``.

    ``history`` are the earlier nights as `judged` returned them, the oldest first. Without ``confirmation`` a verdict
    may want one (``Verdict.wants``): then train `Rules.confirm_seeds` fresh seeds of all cells of the canary and judge
    again with their runs. Runs of a confirmation without a result make the night incomplete. ``accepted`` are names of
    bad nights whose level somebody has accepted: a baseline begins there.
    """
    raise NotImplementedError


def judged(tonight: Night, verdict: Verdict, told: bool = False) -> Night:
    """Return the night as history keeps it: with its status, since when, the statuses of its cells, and ``told``."""
    raise NotImplementedError


def is_news(history: Sequence[Night], verdict: Verdict, when: Collection[str]) -> bool:
    """Return whether people are told of the verdict: its status is one of ``when``, and no night told them already.

    A state is told once: a night of the same status and the same ``since`` that was told silences all later ones.
    """
    raise NotImplementedError
