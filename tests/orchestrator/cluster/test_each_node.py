"""A function on each node: a node that goes meanwhile is left out, and one that cannot be used is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray.exceptions import NodeDiedError, TaskUnschedulableError, WorkerCrashedError

from orchestrator.cluster.each_node import on_each
from orchestrator.errors import InputError
from tests.helpers.cluster.fake_ray import FakeRay, Waits

A, B = "a" * 56, "b" * 56  # ids as Ray has them
NODES = {A: "10.0.0.1", B: "10.0.0.2"}


@pytest.mark.parametrize("error", [NodeDiedError("gone"), TaskUnschedulableError("the node does not exist any more")])
def test_a_node_that_goes_between_the_list_and_its_task_is_left_out(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    FakeRay(monkeypatch, ["seen", error], alive=["here", A])
    assert on_each(NODES, str, Path()) == ["seen"]


def test_a_node_that_is_there_and_runs_nothing_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeRay(monkeypatch, ["seen", WorkerCrashedError()], alive=["here", A, B])
    with pytest.raises(InputError, match=r"10\.0\.0\.2 \(WorkerCrashedError: .*`ray status`.*same command"):
        on_each(NODES, str, Path())


def test_a_node_that_does_not_answer_is_named_unless_it_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeRay(monkeypatch, ["seen", Waits(1), "too late"], alive=["here", A, B])
    with pytest.raises(InputError, match=r"10\.0\.0\.2 have not answered within"):
        on_each(NODES, str, Path())
    FakeRay(monkeypatch, ["seen", Waits(1), "too late"], alive=["here", A])
    assert on_each(NODES, str, Path()) == ["seen"]
