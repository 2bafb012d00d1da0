"""What summary.json holds is what its page in docs defines."""

from __future__ import annotations

import re

import pytest

from orchestrator.summary import schema as summary
from tests.helpers.places import ROOT

PAGE = ROOT / "docs" / "statistics.md"
SAID_BY_THEIR_NAMES = {
    "lr", "failed_seeds", "diverged_seeds", "train_seconds", "trainable_parameters", "base_accuracy", "methods",
    "first", "second", "ratio", "probability", "leader", "tasks", "reference", "headline", "claims", "levels", "runs",
}  # fmt: skip
TYPES = [kind for kind in vars(summary).values() if isinstance(kind, type) and hasattr(kind, "__total__")]


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_every_figure_is_defined_in_the_docs(kind: type) -> None:
    words = set(re.findall(r"\w+", PAGE.read_text()))
    assert set(kind.__annotations__) - SAID_BY_THEIR_NAMES <= words


def test_the_types_are_found() -> None:
    assert len(TYPES) > 12
