"""The hub without Ray: trainers are threads here, and the event loop is the actor's."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

from orchestrator.cluster.assignments import End
from orchestrator.cluster.hub import PLACEMENTS, STARTS, Hub

Train = Callable[[str, int], None]


class Stage:
    """A hub with trainers that call ``train`` with each pack's content and their rank."""

    def __init__(self, packs: list[str], train: Train, ranks: int = 1) -> None:
        self.train, self.ranks = train, ranks
        self.done: dict[str, list[tuple[str, int]]] = {}
        self.started: list[str] = []
        self.hub = Hub({pack: pack.encode() for pack in packs}, ranks, self.fit)

    def fit(self, name: str) -> End:
        self.started.append(name)
        threads = ThreadPoolExecutor(self.ranks)
        ranks = [threads.submit(self._rank, name, rank) for rank in range(self.ranks)]
        ended, _ = wait(ranks, return_when=FIRST_EXCEPTION)  # as Train does: then the others are of no use
        threads.shutdown(wait=False)
        errors = {rank: str(one.exception()) for rank, one in enumerate(ranks) if one in ended and one.exception()}
        return End("\n".join(errors.values()), errors)

    def run(self, slots: int) -> dict[str, str]:
        async def main() -> dict[str, str]:
            self.loop = asyncio.get_running_loop()
            running = asyncio.create_task(self.hub.run(slots))
            errors = await asyncio.gather(*(self.hub.train(pack) for pack in self.hub.packs))
            await running
            return dict(zip(self.hub.packs, errors, strict=True))

        return asyncio.run(asyncio.wait_for(main(), 30))

    def _rank(self, name: str, rank: int) -> None:
        while (pack := self._call(self.hub.take(name, rank))) is not None:
            self.done.setdefault(pack.decode(), []).append((name, rank))
            try:
                self.train(pack.decode(), rank)
            except Exception:
                self._call(self.hub.report(name, rank, traceback.format_exc()))
                raise

    def _call(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self.loop).result()


def names(count: int) -> list[str]:
    return [f"p{index:02d}" for index in range(count)]


def test_two_trainers_of_two_ranks_train_every_pack_once() -> None:
    stage = Stage(names(20), lambda pack, rank: None, ranks=2)
    assert set(stage.run(slots=2).values()) == {""}
    assert sorted(stage.started) == ["slot0-0", "slot1-0"]
    for who in stage.done.values():
        assert sorted(rank for _, rank in who) == [0, 1]
        assert len({name for name, _ in who}) == 1


def test_a_pack_that_raises_fails_alone_and_a_fresh_trainer_goes_on() -> None:
    def train(pack: str, rank: int) -> None:
        if pack in ("p01", "p02") and rank == 1:
            raise ValueError(f"{pack} is bad")

    stage = Stage(names(5), train, ranks=2)
    errors = stage.run(slots=1)
    assert [pack for pack, error in errors.items() if error] == ["p01", "p02"]
    assert errors["p01"].startswith("Traceback")
    assert errors["p01"].strip().endswith("ValueError: p01 is bad")
    assert stage.started == ["slot0-0", "slot0-1", "slot0-2"]
    assert {pack: who[0][0] for pack, who in stage.done.items()} == {
        "p00": "slot0-0",
        "p01": "slot0-0",
        "p02": "slot0-1",
        "p03": "slot0-2",
        "p04": "slot0-2",
    }


def test_no_trainer_is_started_again_after_the_last_pack_failed() -> None:
    def train(pack: str, rank: int) -> None:
        raise ValueError(pack)

    stage = Stage(names(2), train)
    assert all(stage.run(slots=1).values())
    assert len(stage.started) == 2


def test_trainers_that_never_start_fail_the_packs_with_what_they_said() -> None:
    stage = Stage(names(3), lambda pack, rank: None)
    started: list[str] = []

    def fit(name: str) -> End:
        started.append(name)
        return End("CUDA is gone")

    stage.hub.fit = fit
    errors = stage.run(slots=2)
    assert set(errors.values()) == {f"No trainer could be started, {STARTS} times in a row: CUDA is gone"}
    assert len(started) == 2 * STARTS


def test_a_slot_that_cannot_start_leaves_its_packs_to_the_others() -> None:
    stage = Stage(names(6), lambda pack, rank: None)
    whole = stage.fit
    stage.hub.fit = lambda name: End("no such node") if name.startswith("slot0") else whole(name)
    assert set(stage.run(slots=2).values()) == {""}


def test_a_trainer_without_a_place_is_waited_for_longer() -> None:
    stage = Stage(names(2), lambda pack, rank: None)
    whole, tries = stage.fit, []

    def fit(name: str) -> End:
        tries.append(name)
        return End("no room", unplaced=True) if len(tries) < PLACEMENTS else whole(name)

    stage.hub.fit = fit
    assert set(stage.run(slots=1).values()) == {""}
    assert len(tries) == PLACEMENTS


def test_a_preempted_pack_is_trained_again_on_the_next_trainer() -> None:
    stage = Stage(names(3), lambda pack, rank: None)
    whole = stage.fit

    def fit(name: str) -> End:
        if name != "slot0-0":
            return whole(name)
        assert stage._call(stage.hub.take(name, 0)) == b"p00"
        return End("its node was taken away", preempted=True)

    stage.hub.fit = fit
    assert set(stage.run(slots=1).values()) == {""}
    assert {pack: len(who) for pack, who in stage.done.items()} == {"p00": 1, "p01": 1, "p02": 1}
