"""A Ray cluster as the driver holds it, without Ray."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cluster import ray_tune as module
from orchestrator.cluster.ray_tune import RayCluster
from orchestrator.cluster.session.ray_session import Session
from orchestrator.recipe.cluster_section import ClusterSpec


@pytest.mark.parametrize(
    ("dashboard", "lines"), [("10.0.0.1:8265", ["Ray's dashboard: http://10.0.0.1:8265"]), ("", []), (None, [])]
)
def test_whoever_joins_a_cluster_is_told_where_its_dashboard_is_before_a_node_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dashboard: str | None, lines: list[str]
) -> None:
    said: list[str] = []
    monkeypatch.setattr(module, "open_session", lambda *_: Session(None, dashboard=dashboard))
    monkeypatch.setattr(module, "_nodes", list)
    monkeypatch.setattr(module, "wait_for_first_node", lambda spec, say: say("waiting"))
    RayCluster(ClusterSpec(), tmp_path, say=said.append)
    assert said == [*lines, "waiting"]
