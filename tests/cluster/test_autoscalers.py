"""An autoscaler of Ray brings the nodes that a sweep asks for."""

from __future__ import annotations

import re
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


@pytest.mark.parametrize(
    ("trainer", "nodes"),
    [("cluster.pack=1", "[12]"), ("cluster.workers=2 engine.kind=zero engine.stage=2", "2")],
    ids=["workers of one node each", "two workers on two nodes"],
)
def test_a_sweep_without_a_node_trains_on_nodes_that_the_first_autoscaler_brings(
    host: Hosts, recipe: Path, trainer: str, nodes: str
) -> None:
    program = ROOT / "tests" / "helpers" / "programs" / "autoscaled_job.py"
    words = f"{recipe} cluster.kind=ray tracking.uri=none 'tasks=[tiny_recall]' champions=false {trainer}"
    path = f"PATH={Path(sys.executable).parent}:$PATH RAY_AUTH_MODE=disabled"
    command = f"cd {ROOT} && {path} {sys.executable} {program} {recipe.parent} {words}"
    done = host.ssh(1, command, check=False, limit=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"nodes that came: {nodes}$", done.stdout, re.MULTILINE), done.stdout
    rows = rows_of(recipe.parent / "sweeps" / "small")
    assert [row["status"] for row in rows] == ["committed"] * 4
