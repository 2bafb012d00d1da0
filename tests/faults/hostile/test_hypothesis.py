"""Recipes that hypothesis makes: whatever it writes, the reader understands it or refuses it with place and remedy."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.hostile.recipes import GOOD, VALUES, Tree, dumped, places, put
from tests.faults.hostile.test_recipes import judged, reads
from tests.faults.hostile.verdict import end_of_job
from tests.faults.scorecard import CARD

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(VALUES)
)  # fmt: skip
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)
KEYS = sorted({str(part) for path in places(GOOD) for part in path if isinstance(part, str)})
SIGNS = st.text(st.sampled_from("[]{}:,-?&*!|>'\"%@`#\t\n \\~0.eE+ax\u202e\x00\ufeff$()=<"), max_size=60)


@st.composite
def spoiled(draw: Any) -> Tree:
    """A good recipe with one to four values replaced, added or removed."""
    tree = copy.deepcopy(GOOD)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.sampled_from(places(tree) or [("name",)]))
        how = draw(st.sampled_from(("replace", "replace", "remove", "add")))
        node: Any = tree
        for key in place[:-1]:
            node = node[key]
        if how == "replace" or not isinstance(node, dict):
            tree = put(tree, place, draw(ANYTHING))
        elif how == "remove":
            del node[place[-1]]
        else:
            node[draw(st.sampled_from(KEYS) | st.text(max_size=8))] = draw(ANYTHING)
    return tree


CONTENTS = st.one_of(
    spoiled().map(dumped),
    spoiled().map(dumped),
    st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=6).map(dumped),
    SIGNS.map(lambda text: text.encode()),
    st.binary(max_size=200),
    st.tuples(st.sampled_from(KEYS), SIGNS).map(lambda pair: f"{pair[0]}: {pair[1]}\n".encode()),
)
WORDS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([".".join(map(str, path)) for path in places(GOOD)]), SIGNS).map("=".join),
        st.tuples(st.text(max_size=10), st.text(max_size=10)).map("=".join),
        SIGNS,
    ),
    max_size=2,
)


def check(folder: Path, content: bytes, words: list[str]) -> None:
    """Read a recipe through the frame of a job; words of the command line that begin with a dash are options."""
    file = folder / "recipe.yaml"
    file.write_bytes(content)
    words = [word for word in words if not word.startswith("-")]
    outcome = end_of_job(reads, [str(file), *words])
    place = r"argument |is not key=value" if words else ""
    faults = judged(file, outcome) if not words or outcome.code != 2 else outcome.faults(f"{place}|recipe.yaml")
    CARD.hostile([("made by hypothesis", faults, outcome.told)])
    assert not faults, (faults, outcome.told)


@settings(max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(content=CONTENTS, words=WORDS)
def test_200_recipes(tmp_path_factory: pytest.TempPathFactory, content: bytes, words: list[str]) -> None:
    check(tmp_path_factory.getbasetemp(), content, words)


@pytest.mark.slow
@pytest.mark.rare
@pytest.mark.timeout(1800)
@settings(max_examples=10_000, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(content=CONTENTS, words=WORDS)
def test_10000_recipes(tmp_path_factory: pytest.TempPathFactory, content: bytes, words: list[str]) -> None:
    check(tmp_path_factory.getbasetemp(), content, words)
