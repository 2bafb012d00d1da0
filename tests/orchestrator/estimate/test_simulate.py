"""The schedule in a simulation: bounds that hold for every schedule, and cases that can be counted by hand."""

from __future__ import annotations

import heapq
import random
from dataclasses import replace

import pytest

from orchestrator.errors import InputError
from orchestrator.estimate.simulate import Fleet, saved, simulate, trainers_per_node

HOUR = 3600.0
CALM = Fleet(nodes=2, start=0.0)
SPOT = Fleet(nodes=4, trainers_per_node=2, reclaims=0.5, replacement=600.0, start=20.0, checkpoint=60.0)


def test_equal_packs_that_fill_all_trainers_reach_the_lower_bound() -> None:
    told = simulate([HOUR] * 4, CALM)
    assert (told.makespan_hours, told.lower_bound_hours, told.utilisation) == (2.0, 2.0, 1.0)
    assert (told.node_hours, told.lost_hours, told.reclaims) == (4.0, 0.0, 0)


def test_packs_go_longest_first_to_the_trainer_that_is_free() -> None:
    assert simulate([1.0, 1.0, 1.0, 1.0, 4.0], CALM).makespan_hours * HOUR == 4.0
    packs = [random.Random(3).uniform(1, 100) for _ in range(200)]
    free = [0.0] * 6
    for seconds in sorted(packs, reverse=True):
        heapq.heapreplace(free, free[0] + seconds)
    told = simulate(packs, Fleet(nodes=3, trainers_per_node=2, start=0.0))
    assert told.makespan_hours * HOUR == pytest.approx(max(free))


def test_a_trainer_starts_before_its_first_pack_and_the_longest_pack_bounds_the_time() -> None:
    told = simulate([10.0], replace(CALM, start=20.0))
    assert told.makespan_hours * HOUR == 30.0
    assert told.lower_bound_hours * HOUR == 10.0
    assert told.utilisation == pytest.approx(10 / 60)


@pytest.mark.parametrize("seed", range(20))
def test_reclaims_cost_time_and_no_work_is_lost_for_good(seed: int) -> None:
    packs = [600.0 + 60 * number for number in range(40)]
    told = simulate(packs, replace(SPOT, seed=seed))
    calm = simulate(packs, replace(SPOT, reclaims=0.0))
    assert told.makespan_hours >= told.lower_bound_hours
    if told.reclaims:
        assert told.makespan_hours >= calm.makespan_hours or told.lost_hours == 0
    assert told.lost_hours <= told.reclaims * 2 * 60 / HOUR  # two trainers, and a checkpoint per minute
    work = sum(packs) / HOUR
    assert told.node_hours * 2 >= work + told.lost_hours - 1e-9
    assert told.utilisation == pytest.approx(work / (told.node_hours * 2))


def test_equal_seeds_give_equal_outcomes_and_other_seeds_others() -> None:
    packs = [1000.0] * 64
    assert simulate(packs, SPOT) == simulate(packs, SPOT)
    assert len({simulate(packs, replace(SPOT, seed=seed)).makespan_hours for seed in range(5)}) > 1


def test_about_as_many_nodes_are_reclaimed_as_asked_for() -> None:
    reclaims = hours = 0.0
    for seed in range(30):
        told = simulate([900.0] * 300, replace(SPOT, seed=seed))
        reclaims, hours = reclaims + told.reclaims, hours + told.node_hours
    assert reclaims / hours == pytest.approx(0.5, rel=0.15)


def test_without_checkpoints_a_reclaimed_pack_begins_anew() -> None:
    fleet = replace(SPOT, nodes=1, trainers_per_node=1, reclaims=2.0)
    with_, without = (
        [simulate([HOUR] * 4, replace(fleet, checkpoint=pause, seed=seed)).lost_hours for seed in range(10)]
        for pause in (60.0, 0.0)
    )
    assert sum(without) > 5 * sum(with_)


def test_a_fleet_on_which_no_pack_can_end_is_refused() -> None:
    with pytest.raises(InputError, match="let no pack end: give a smaller --reclaim-per-hour"):
        simulate([50 * HOUR], Fleet(nodes=1, reclaims=60.0, checkpoint=0.0))


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [(4.9, 0.0), (5.0, 5.0), (19.0, 10.0), (79.0, 40.0), (80.0, 80.0), (139.0, 80.0), (140.0, 140.0)],
)
def test_checkpoints_are_spaced_as_the_saver_spaces_them(seconds: float, kept: float) -> None:
    assert saved(seconds, 60.0) == kept
    assert saved(seconds, 0.0) == 0.0


@pytest.mark.parametrize(("gpus", "workers", "each"), [(8, 1, (8, 1)), (8, 3, (2, 1)), (8, 8, (1, 1)), (8, 16, (1, 2))])
def test_a_node_holds_as_many_trainers_as_its_gpus_have_room_for(
    gpus: int, workers: int, each: tuple[int, int]
) -> None:
    assert trainers_per_node(gpus, workers) == each


def test_a_hundred_thousand_runs_are_few_events() -> None:
    assert simulate([60.0] * 25_000, replace(SPOT, nodes=64)).makespan_hours > 0
