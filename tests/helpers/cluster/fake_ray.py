"""A Ray whose tasks are outcomes of a list: each call of a task has the next outcome, and no process is started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest


class FakeRay:
    """Stands in the place of `ray.remote`, `ray.wait`, `ray.get` and `ray.nodes`.

    An outcome is a result, an exception that is raised, or a number of waits that end without an answer, which the next
    outcome follows.
    """

    def __init__(self, patch: pytest.MonkeyPatch, outcomes: Sequence[Any], alive: Sequence[str] = ()) -> None:
        import ray

        self.outcomes, self.alive, self.started = list(outcomes), list(alive), 0
        self._waits: dict[int, int] = {}
        self._results: dict[int, Any] = {}
        for name in ("remote", "wait", "get", "nodes"):
            patch.setattr(ray, name, getattr(self, f"_{name}"))
        context = type("Context", (), {"get_node_id": lambda _: "here"})
        patch.setattr(ray, "get_runtime_context", context)

    def method(self, *_: Any) -> int:
        """Start a task, as ``actor.method.remote``; return what Ray returns a reference for."""
        self.started += 1
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Waits):
            self._waits[self.started] = outcome.times
            outcome = self.outcomes.pop(0)
        self._results[self.started] = outcome
        return self.started

    def _remote(self, **_: Any) -> Callable[[Any], Any]:
        fake = self

        class Task:
            def options(self, **_: Any) -> Any:
                return self

            def remote(self, *words: Any) -> int:
                return fake.method(*words)

        return lambda _: Task()

    def _wait(self, answers: list[int], num_returns: int = 1, timeout: float = 0) -> tuple[list[int], list[int]]:
        del num_returns, timeout
        late = [answer for answer in answers if self._waits.get(answer, 0) > 0]
        for answer in late:
            self._waits[answer] -= 1
        return [answer for answer in answers if answer not in late], late

    def _get(self, answer: int, timeout: float = 0) -> Any:
        del timeout
        result = self._results[answer]
        if isinstance(result, BaseException):
            raise result
        return result

    def _nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": node, "Alive": True, "Resources": {"CPU": 1}} for node in self.alive]


class Waits:
    """So many waits end without an answer."""

    def __init__(self, times: int) -> None:
        self.times = times
