"""How a trainer waits for its ranks, without Ray."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from orchestrator.cluster.trainers import ranks as module
from orchestrator.cluster.trainers.ranks import OTHERS_SECONDS, errors_of


class FakeCalls:
    """Calls that end on a clock of the test's own: ``ends[call]`` is (second, error or None)."""

    def __init__(self, patch: pytest.MonkeyPatch, ends: dict[int, tuple[float, Exception | None]]) -> None:
        self.ends, self.now = ends, 0.0
        patch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        patch.setattr("ray.wait", self._wait)
        patch.setattr("ray.get", self._get)

    def _wait(self, calls: list[int], timeout: float | None = None) -> tuple[list[int], list[int]]:
        first = min(calls, key=lambda call: self.ends[call][0])
        at = max(self.now, self.ends[first][0])
        if timeout is not None and at > self.now + timeout:
            self.now += timeout
            return [], calls
        self.now = at
        return [first], [call for call in calls if call != first]

    def _get(self, call: int) -> None:
        if error := self.ends[call][1]:
            raise error


LOST, OWN = RuntimeError("Connection closed by peer"), ValueError("bad")


def test_ranks_that_end_well_have_no_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = FakeCalls(monkeypatch, {1: (3, None), 2: (5000, None)})
    assert errors_of([1, 2]) == {}
    assert calls.now == 5000


def test_after_the_first_error_the_others_have_a_few_seconds_to_say_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = FakeCalls(monkeypatch, {1: (12, LOST), 2: (10, OWN), 3: (9e9, None)})
    errors = errors_of([1, 2, 3])
    assert errors == {1: OWN, 0: LOST}
    assert list(errors) == [1, 0]  # the likely cause first
    assert calls.now == 10 + OTHERS_SECONDS


def test_a_rank_that_does_not_begin_is_named_after_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeCalls(monkeypatch, {1: (1, None), 2: (9e9, None)})
    errors = errors_of([1, 2], 300)
    assert [(rank, str(error)) for rank, error in errors.items()] == [
        (1, "rank 1 has not begun within 300 s; `ray status` shows its node")
    ]
