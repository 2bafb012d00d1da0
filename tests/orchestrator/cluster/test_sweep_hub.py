"""The hub of a sweep as the driver holds it, without Ray: rounds, names of packs, and a wait for room in vain."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.cluster import sweep_hub as module
from orchestrator.cluster.hub.messages import Chunk, PackEnd
from orchestrator.cluster.news import News
from orchestrator.cluster.sweep_hub import SweepHub
from orchestrator.errors import InputError
from orchestrator.recipe.cluster_section import ClusterSpec

NO_ROOM = "no trainer had room within 15 min"


class FakeHub:
    """An actor whose packs end with the errors of a list, round by round; None: a round for which there is no room."""

    def __init__(self, patch: pytest.MonkeyPatch, *rounds: dict[str, str] | None) -> None:
        self.rounds, self.added, self.events, self.killed = list(rounds), list[list[str]](), list[Any](), False
        self.no_room, self.begun = "", False
        patch.setattr("ray.remote", lambda _: self)
        patch.setattr("ray.get", lambda answer, timeout=0.0: answer)
        patch.setattr("ray.wait", lambda answers, timeout=0.0: (answers, []))
        patch.setattr("orchestrator.cluster.dialogue.end_actors", lambda _: setattr(self, "killed", True))
        patch.setattr(module, "Trials", lambda *_: SimpleNamespace(join=lambda seconds: None, leave=lambda: None))

    def options(self, **_: Any) -> Any:
        return SimpleNamespace(remote=lambda *_: self)

    @property
    def run(self) -> Any:
        return SimpleNamespace(remote=lambda: None)

    @property
    def add(self) -> Any:
        return SimpleNamespace(remote=self._add)

    @property
    def news(self) -> Any:
        return SimpleNamespace(
            remote=lambda cursor, _: Chunk({}, tuple(self.events[cursor:]), self.begun, True, self.no_room)
        )

    def _add(self, packs: dict[str, bytes], keys: dict[str, list[str]]) -> None:
        assert packs.keys() == keys.keys()
        self.added.append(list(packs))
        errors = self.rounds.pop(0)
        self.no_room, self.begun = (NO_ROOM, False) if errors is None else ("", True)
        self.events += [PackEnd(pack, NO_ROOM if errors is None else errors.get(pack, "")) for pack in packs]


def jobs(*names: str) -> list[Any]:
    return [SimpleNamespace(pack=SimpleNamespace(name=name, runs=())) for name in names]


def hub(tmp_path: Path) -> SweepHub:
    return SweepHub(ClusterSpec(), b"", tmp_path, News(), lambda line: None)


def test_packs_of_later_rounds_may_have_the_names_of_earlier_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = FakeHub(monkeypatch, {"a": "bad"}, {"b-round2": "worse"})
    one = hub(tmp_path)
    assert one.run_packs(jobs("a", "b")) == {"a": "bad"}
    assert one.run_packs(jobs("a", "b")) == {"b": "worse"}
    assert fake.added == [["a", "b"], ["a-round2", "b-round2"]]
    assert one.alive
    one.close()
    assert fake.killed
    assert not one.alive


def test_a_job_that_never_got_room_ends_as_one_that_has_trained_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    FakeHub(monkeypatch, None)
    with pytest.raises(InputError, match=f"cluster: {NO_ROOM}"):
        hub(tmp_path).run_packs(jobs("a"))


def test_packs_without_room_fail_with_the_reason_if_something_was_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    FakeHub(monkeypatch, {}, None)
    one = hub(tmp_path)
    assert one.run_packs(jobs("a")) == {}
    assert one.run_packs(jobs("a")) == {"a": NO_ROOM}
