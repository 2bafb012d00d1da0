"""A champion takes another's place, or comes back: whatever instant a kill comes at, a whole champion is in place."""

from __future__ import annotations

import os
import shutil
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import files, objects
from orchestrator.errors import RunError
from orchestrator.store import champion_change
from orchestrator.store.champion_change import drop, move_in, next_champion, roll_back, settle
from orchestrator.store.rolled_back import memory_of, rolled_back
from tests.helpers.standing import before, names, stands, write_champion
from tests.helpers.stores import machine, server, store  # noqa: F401 - fixtures

FIRST, THEN, NOW = "2026-11-26", "2026-11-27", "2026-11-28"
Act = Callable[[Path], object]


def changing(folder: Path) -> Path:
    """Write B, which has replaced A, and C, which is about to replace B."""
    place = write_champion(folder / "boolq", "B", THEN, "A")
    write_champion(folder / f"boolq.before-{THEN}", "A", FIRST)
    write_champion(next_champion(place, NOW), "C", NOW, "B")
    return place


def changed(folder: Path) -> Path:
    """Write C, which has replaced B."""
    place = write_champion(folder / "boolq", "C", NOW, "B")
    write_champion(folder / f"boolq.before-{NOW}", "B", THEN, "A")
    return place


def moving(place: Path) -> None:
    move_in(place, next_champion(place, NOW))


def rolling(place: Path) -> None:
    roll_back(place, NOW)


def killed(act: Act, place: Path, number: int, exchanges: bool) -> bool:
    """Do ``act`` in a process that is killed before its call ``number`` that changes names; False if it had ended."""
    process = os.fork()
    if process == 0:
        left = [number]

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def counts(*args: Any, **kwargs: Any) -> Any:
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return call(*args, **kwargs)

            return counts

        try:
            Path.rename = counted(Path.rename)  # type: ignore[method-assign]
            Path.replace = counted(Path.replace)  # type: ignore[method-assign]
            os.unlink = counted(os.unlink)
            os.rmdir = counted(os.rmdir)
            champion_change.exchange = counted(files.exchange if exchanges else lambda *_: False)  # type: ignore[attr-defined]
            act(place)
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) or status == 0, "the change itself failed"
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_kill_at_any_step_of_a_move_leaves_a_whole_champion_and_the_next_start_ends_the_move(
    tmp_path: Path, exchanges: bool
) -> None:
    for number in range(100):
        place = changing(tmp_path / str(number))
        ended = not killed(moving, place, number, exchanges)
        if exchanges:
            assert stands(place, "B") or stands(place, "C"), number
        for _ in range(2):  # the second time nothing is left to do
            settle(place)
            assert stands(place, "C"), number
            assert before(place) == "B", number
            assert names(place) == {"boolq", f"boolq.before-{NOW}"}, number
        if ended:
            assert number >= 8  # a directory of three files is dropped, so there are many steps
            return
    raise AssertionError("never ended")


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_kill_at_any_step_of_a_roll_back_leaves_a_whole_champion_and_the_next_start_ends_it(
    tmp_path: Path, exchanges: bool
) -> None:
    states = set()
    for number in range(100):
        place = changed(tmp_path / str(number))
        ended = not killed(rolling, place, number, exchanges)
        if exchanges:
            assert stands(place, "B") or stands(place, "C"), number
        settle(place)
        gone = [row.run_key for row in rolled_back(place)]
        assert (stands(place, "C"), before(place), gone) in ((True, "B", []), (False, None, ["C"])), number
        assert stands(place, "C" if not gone else "B"), number
        states.add(bool(gone))
        settle(place)
        assert stands(place, "C" if not gone else "B"), number
        if ended:
            assert states == {True, False}
            return
    raise AssertionError("never ended")


@pytest.mark.parametrize("exchanges", [True, False])
@pytest.mark.parametrize("act", [moving, rolling])
def test_a_kill_of_what_ends_a_change_costs_nothing_either(tmp_path: Path, act: Act, exchanges: bool) -> None:
    for first in (1, 2, 3):
        for second in range(4):
            place = (changing if act is moving else changed)(tmp_path / f"{first}-{second}")
            killed(act, place, first, exchanges)
            killed(settle, place, second, exchanges)
            settle(place)
            gone = [row.run_key for row in rolled_back(place)]
            assert stands(place, "B" if gone else "C"), (first, second)
            assert before(place) == (None if gone else "B"), (first, second)


def test_a_roll_back_goes_one_champion_back_and_no_further(tmp_path: Path) -> None:
    place = changed(tmp_path)
    done = roll_back(place, NOW)
    assert done is not None
    assert (done.run_key, done.back_to) == ("C", "B")
    assert names(place) == {"boolq", "boolq.refused.json"}
    assert roll_back(place, NOW) is None
    assert stands(place, "B")
    assert [row.run_key for row in rolled_back(place)] == ["C"]


def test_a_draft_that_belongs_to_nothing_goes_and_a_broken_champion_keeps_no_place(tmp_path: Path) -> None:
    place = write_champion(tmp_path / "boolq", "D")
    stray = write_champion(next_champion(place, NOW), "C", NOW, "B")  # was to replace B, and D stands
    (tmp_path / f"boolq.next-{FIRST}").mkdir()  # a merge that was killed before its evaluation
    settle(place)
    assert not stray.exists()
    assert names(place) == {"boolq"}
    (place / "evaluation.json").write_text('{"run_key": "D", "status": "broken"}')
    move_in(place, write_champion(next_champion(place, NOW), "C", NOW))
    assert stands(place, "C")
    assert names(place) == {"boolq"}


def test_a_first_champion_moves_into_an_empty_place_and_settling_nothing_is_nothing(tmp_path: Path) -> None:
    place = tmp_path / "boolq"
    settle(place)
    move_in(place, write_champion(next_champion(place, NOW), "A", NOW))
    assert stands(place, "A")
    assert before(place) is None
    write_champion(tmp_path / f"boolq.before-{THEN}", "D")
    drop(place)  # somebody moves the champion away: what stood before it stays
    settle(place)
    assert names(place) == {f"boolq.before-{THEN}"}


def test_a_damaged_memory_of_roll_backs_is_an_error_with_a_remedy_that_helps(tmp_path: Path) -> None:
    place = changed(tmp_path)
    memory_of(place).write_text('{"rolled_back": [{"run_key": 1}]}')
    with pytest.raises(RunError, match=r"refused.json is damaged: .* or delete it"):
        settle(place)
    memory_of(place).unlink()
    settle(place)
    assert stands(place, "C")


class Killed(BaseException):
    """What ends a process here."""


def until_killed(act: Act, place: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Do ``act``, and break it off before its request ``number`` that changes the store."""
    left = [number]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def counts(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return call(*args, **kwargs)

        return counts

    with monkeypatch.context() as patch:
        patch.setattr(objects, "_put_file", counted(objects._put_file))
        patch.setattr(objects, "remove", counted(objects.remove))
        try:
            act(place)
        except Killed:
            return True
    return False


@pytest.mark.slow
@pytest.mark.rare
@pytest.mark.parametrize("same_machine", [True, False])
@pytest.mark.parametrize("act", [moving, rolling])
def test_in_an_object_store_a_change_that_was_broken_off_is_ended_by_whoever_comes_next(
    store: Any,  # noqa: F811
    act: Act,
    same_machine: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(60):
        folder = machine("first") / f"sweep-{number}" / "champions"
        place = (changing if act is moving else changed)(folder)
        objects.put(folder)
        ended = not until_killed(act, place, number, monkeypatch)
        if not same_machine:
            folder = machine("second") / f"sweep-{number}" / "champions"
            place = folder / "boolq"
        objects.fetch(folder)
        settle(place)
        gone = [row.run_key for row in rolled_back(place)]
        third = machine("third") / f"sweep-{number}" / "champions"
        objects.fetch(third)
        for each in (place, third / "boolq"):
            assert stands(each, "B" if gone else "C"), number
            assert before(each) == (None if gone else "B"), number
        shutil.rmtree(machine("first"), ignore_errors=True)
        if ended:
            assert number >= 7  # four files and a memory are put, two things are removed
            return
    raise AssertionError("never ended")
