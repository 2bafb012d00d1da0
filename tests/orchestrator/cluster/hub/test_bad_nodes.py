"""Nodes that are used no more: after packs in a row that failed there before a step."""

from __future__ import annotations

from orchestrator.cluster.hub.bad_nodes import BadNodes
from orchestrator.cluster.hub.breaker import LIKE
from orchestrator.cluster.hub.messages import Place

A, B = Place("a", "host-a", 1, None), Place("b", "host-b", 2, None)


def test_a_node_is_given_up_once_and_a_step_on_it_begins_its_count_anew() -> None:
    nodes = BadNodes()
    assert [nodes.failed(A) for _ in range(LIKE - 1)] == [None] * (LIKE - 1)
    nodes.stepped(A)
    nodes.stepped(None)
    told = [nodes.failed(A) for _ in range(LIKE + 1)]
    assert [line is not None for line in told] == [False] * (LIKE - 1) + [True, False]
    assert nodes.hosts == {"a": "host-a"}
    assert (nodes.at_fault(A), nodes.at_fault(B)) == (True, False)
    assert nodes.words.endswith("packs failed there: host-a")


def test_failures_of_one_node_are_none_of_another() -> None:
    nodes = BadNodes()
    assert [nodes.failed(place) for place in (A, B) * (LIKE - 1)] == [None] * 2 * (LIKE - 1)
    assert nodes.words == ""
