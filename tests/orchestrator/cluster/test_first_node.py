"""The wait for the first node of a cluster that was joined, without Ray."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.cluster import first_node
from orchestrator.errors import InputError
from orchestrator.recipe.cluster_section import ClusterSpec


def wait(monkeypatch: pytest.MonkeyPatch, comes_after: float) -> tuple[list[str], list[Any]]:
    """Wait for a node that comes after so many seconds; return what was said and what was asked for."""
    clock, said, asked, removed = [0.0], list[str](), list[Any](), list[Any]()

    def look(seconds: float) -> bool:
        clock[0] += seconds
        return clock[0] >= comes_after

    def group(bundles: Any, strategy: str) -> Any:
        asked.append((bundles, strategy))
        return SimpleNamespace(wait=look)

    # `ray.util.placement_group` is a function too, so the module is found by its name
    monkeypatch.setattr(importlib.import_module("ray.util.placement_group"), "placement_group", group)
    monkeypatch.setattr(first_node, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(first_node, "remove_groups", removed.extend)
    monkeypatch.setattr(first_node, "room_now", lambda: "no node with CPUs")
    try:
        first_node.wait_for_first_node(ClusterSpec(workers=2, wait_seconds=600), said.append)
    finally:
        assert len(removed) == 1
    return said, asked


def test_a_node_that_comes_in_minutes_is_asked_for_and_waited_for_with_words(monkeypatch: pytest.MonkeyPatch) -> None:
    said, asked = wait(monkeypatch, 135)
    word = (
        "waiting for room for a trainer (2 workers of 1 CPUs and 0 GPUs); the cluster has now: no node with CPUs; it "
        "is waited for up to 10 min"
    )
    assert said == [word] * 3
    assert asked == [([{"CPU": 1.0}] * 2, "PACK")]


def test_a_node_that_is_there_at_once_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wait(monkeypatch, 8)[0] == []


def test_a_node_that_never_comes_ends_the_job_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"had room within 10 min.*no node with CPUs.*cluster\.wait_seconds") as raised:
        wait(monkeypatch, 9999)
    assert raised.value.exit_code == 2
