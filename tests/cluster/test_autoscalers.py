"""Both autoscalers of Ray bring the nodes that a sweep asks for; the sweep waits for them with a word."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.hosts import Hosts, missing
from tests.helpers.places import ROOT
from tests.helpers.sweeps import rows_of

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """One host, whose processes end with the test."""
    made = Hosts(tmp_path_factory.mktemp("host"), net="10.98.8")
    try:
        made.up((1,))
        yield made
    finally:
        made.down()


@pytest.mark.parametrize("version", [1, 2])
def test_a_sweep_without_a_node_waits_for_those_that_an_autoscaler_brings(
    host: Hosts, recipe: Path, version: int
) -> None:
    program = ROOT / "tests" / "helpers" / "programs" / "autoscaled_job.py"
    words = f"{recipe} cluster.kind=ray tracking.uri=none 'tasks=[tiny_recall]' champions=false"
    words += " cluster.workers=2 engine.kind=zero cluster.wait_seconds=120"
    path = f"PATH={Path(sys.executable).parent}:$PATH RAY_AUTH_MODE=disabled"
    done = host.ssh(
        1, f"cd {ROOT} && {path} {sys.executable} {program} {recipe.parent} {version} {words}", check=False, limit=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nodes that came: 2" in done.stdout
    rows = rows_of(recipe.parent / "sweeps" / "small")
    assert [row["status"] for row in rows] == ["committed"] * 4
