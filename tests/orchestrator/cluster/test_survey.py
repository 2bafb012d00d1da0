"""A survey joins the cluster that RAY_ADDRESS names, as a sweep does, and knows which nodes can train."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.cluster import survey as module
from orchestrator.cluster.survey import Survey
from orchestrator.errors import InputError

NODES = [
    {"NodeID": "here", "Alive": True, "NodeManagerAddress": "10.0.0.1", "Resources": {"CPU": 2.0}},
    {"NodeID": "a", "Alive": True, "NodeManagerAddress": "10.0.0.2", "Resources": {"CPU": 8.0, "GPU": 1.0}},
    {"NodeID": "gone", "Alive": False, "NodeManagerAddress": "10.0.0.3", "Resources": {"CPU": 8.0}},
]


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is closed, in order; Ray has `NODES`."""
    import ray

    happened: list[str] = []
    session = type("Session", (), {"close": lambda _: happened.append("close")})
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(module, "open_session", lambda threads: session())
    monkeypatch.setattr(ray, "nodes", lambda: NODES)
    monkeypatch.setattr(ray, "get_runtime_context", type("Context", (), {"get_node_id": lambda _: "here"}))
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "10.0.0.1")
    return happened


def test_the_drivers_node_trains_only_if_it_has_processors(closed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with Survey() as survey:
        assert survey.nodes == {"a": "10.0.0.2"}
        assert survey.trainers == {"here": "10.0.0.1", "a": "10.0.0.2"}
        assert survey.gpus == {"10.0.0.1": 0.0, "10.0.0.2": 1.0}
    assert closed == ["close"]
    head: dict[str, Any] = {**NODES[0], "Resources": {"CPU": 0.0}}
    monkeypatch.setattr("ray.nodes", lambda: [head, *NODES[1:]])
    assert Survey().trainers == {"a": "10.0.0.2"}


def test_without_an_address_there_is_nothing_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(InputError, match=r"RAY_ADDRESS names no cluster\. Set it to HOST:PORT"):
        Survey()
