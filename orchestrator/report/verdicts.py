"""The meanings of the verdict words, for the legend below each table of differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.statistics.thresholds import LEVELS, SIGNIFICANT
from orchestrator.summary.phrases import is_equal
from orchestrator.summary.schema import Difference

EQUAL = "equal at each seed"
MEANINGS: Mapping[str, str] = {
    "ahead": f"the first method has the higher mean, and the corrected p is below {SIGNIFICANT}",
    "behind": f"the first method has the lower mean, and the corrected p is below {SIGNIFICANT}",
    "tie": f"the corrected p is {SIGNIFICANT} or more: no difference was shown, which does not show that there is none",
    EQUAL: "a tie of which every paired difference is exactly 0",
    "unknown": "there is no p to judge by",
    "few seeds": "the two methods share fewer than two seeds",
    "crossed seeds": f"a seed axis has fewer than {LEVELS} seeds, or too few runs are left to tell the axes apart",
    "stopped seeds": "rungs stopped seeds of one of the two methods, so the seeds that are left were selected",
}
"""In the order in which a legend explains the words."""


def verdict_note(pair: Difference) -> str:
    """Return the note beside a pair's verdict: that a tie is equal, or why a verdict is unknown; else ""."""
    if is_equal(pair):
        return EQUAL
    return pair.get("why_unknown") or ""  # summaries from before this figure do not have it


def verdict_legend(pairs: Sequence[Difference]) -> str:
    """Return the meaning of each verdict word that stands beside one of these pairs, and of no other word."""
    words = {word for pair in pairs for word in (pair["verdict"], verdict_note(pair))}
    return "; ".join(f"“{word}”: {meaning}" for word, meaning in MEANINGS.items() if word in words) + "."
