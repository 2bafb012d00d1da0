"""The sentences that the figures of a sweep support: the headline, and the claims with their limits."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.summary.claims import claims
from orchestrator.summary.headline import headline
from orchestrator.summary.makers import mixed_makers
from orchestrator.summary.schema import Figures, ResultRow, Sentences
from orchestrator.summary.search_limits import limits_of_search
from orchestrator.summary.ties import exact_ties


def sentences(figures: Figures, rows: Sequence[ResultRow]) -> Sentences:
    """Return the headline and the claims about ``figures``, which `summarise` made from the same ``rows``.

    The rows say which runs are missing, what a search left out, and how many answers were exact ties.
    """
    reference, tasks, macro = figures["reference"], figures["tasks"], figures["macro"]
    return {
        "headline": headline(reference, tasks, macro, rows),
        "claims": claims(reference, tasks, macro) + limits_of_search(rows) + exact_ties(rows) + mixed_makers(rows),
    }
