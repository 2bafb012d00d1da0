"""Recipes for a cluster and for one machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.sweeps import RECIPE


@pytest.fixture
def recipes(tmp_path: Path, small_base: Path) -> dict[str, Path]:
    """The same recipe twice: for one machine and for the cluster."""
    written = {}
    for name in ("one", "three"):
        written[name] = tmp_path / name / "small.yaml"
        written[name].parent.mkdir()
        written[name].write_text(RECIPE.format(base=small_base, place=written[name].parent))
    return written
