"""A single function on a Ray cluster: words while it waits, and a second try if its node is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray.exceptions import NodeDiedError, WorkerCrashedError

from orchestrator.cluster.one_task import run_once
from tests.helpers.cluster.fake_ray import FakeRay, Waits


def measure(_: Path) -> int:
    return 1


def run(said: list[str]) -> object:
    return run_once(measure, Path(), {"num_cpus": 2, "num_gpus": 1}, said.append)


def test_a_function_that_waits_says_for_what(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    FakeRay(monkeypatch, [Waits(3), 7])
    assert run(said) == 7
    assert len(said) == 3
    assert said[0].startswith("waiting for measure since 0 s")
    assert "num_cpus=2, num_gpus=1 free" in said[0]


@pytest.mark.parametrize("lost", [NodeDiedError("gone"), WorkerCrashedError()])
def test_a_function_that_loses_its_node_runs_once_more_and_not_twice(
    monkeypatch: pytest.MonkeyPatch, lost: Exception
) -> None:
    said: list[str] = []
    fake = FakeRay(monkeypatch, [lost, 7])
    assert run(said) == 7
    assert fake.started == 2
    assert said == [f"measure was lost with its node or process ({type(lost).__name__}); it runs once more"]
    FakeRay(monkeypatch, [lost, lost, 7])
    with pytest.raises(type(lost)):
        run(said)


def test_an_error_of_the_function_itself_is_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRay(monkeypatch, [ValueError("bad"), 7])
    with pytest.raises(ValueError, match="bad"):
        run([])
    assert fake.started == 1
