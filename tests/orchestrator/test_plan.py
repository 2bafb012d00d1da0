"""Packs: every run once, equal sizes, one set of targets each, and work for every trainer."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from orchestrator.plan import Pack, PlannedRun, expand, keyed, pack_runs, pack_width
from orchestrator.spec import MethodSpec, OptimSpec, SweepSpec, TaskSpec


def planned(
    tasks: Sequence[str] = ("a",), targets: Sequence[str] = ("attention",), seeds: int = 3, rates: int = 1
) -> list[PlannedRun]:
    methods = [
        MethodSpec(name="lora", settings={"rank": index + 1}, label=f"lora-{index}", targets=one)
        for index, one in enumerate(targets)
    ]
    sweep = SweepSpec(
        name="mine",
        tasks=[TaskSpec(name=name) for name in tasks],
        methods=methods,
        seeds=list(range(seeds)),
        optim=OptimSpec(lr=[(index + 1) * 1e-4 for index in range(rates)]),
    )
    return keyed(expand(sweep), "base", dict.fromkeys(tasks, "data"))


def keys(packs: Sequence[Pack]) -> list[str]:
    return [run.key for pack in packs for run in pack.runs]


def test_a_sweep_is_every_task_with_every_method_rate_and_seed_in_the_recipes_order() -> None:
    runs = [
        (run.spec.task.name, run.spec.method.label, run.spec.lr, run.spec.seed)
        for run in planned("ab", ("x", "y"), 2, 2)
    ]
    assert len(set(runs)) == 16
    assert runs == sorted(runs)


def test_runs_of_different_tasks_have_different_keys_even_on_the_same_rows() -> None:
    assert len({run.key for run in planned("abc")}) == 9


@pytest.mark.parametrize("count", [1, 2, 5, 8, 9, 31])
@pytest.mark.parametrize("width", [1, 2, 8, 100])
@pytest.mark.parametrize("concurrent", [1, 2, 3, 50])
def test_packs_hold_every_run_once_in_equal_shares_and_keep_all_trainers_busy(
    count: int, width: int, concurrent: int
) -> None:
    runs = planned(seeds=count)
    packs = pack_runs(runs, width=width, concurrent=concurrent, base_tasks=["a"])
    sizes = [len(pack.runs) for pack in packs]
    assert keys(packs) == [run.key for run in runs]
    assert max(sizes) <= width
    assert max(sizes) - min(sizes) <= 1
    assert len(packs) >= min(count, concurrent)
    assert len(packs) == count or len(packs) % concurrent == 0


def test_no_more_packs_are_made_than_the_trainers_need() -> None:
    assert len(pack_runs(planned(seeds=16), width=8, concurrent=2, base_tasks=[])) == 2
    assert len(pack_runs(planned(seeds=17), width=8, concurrent=2, base_tasks=[])) == 4


def test_targets_are_never_mixed_in_a_pack_and_no_run_is_lost() -> None:
    runs = planned("ab", ("attention", "mlp", "attention"), seeds=5)
    packs = pack_runs(runs, width=4, concurrent=1, base_tasks=[])
    assert all(len({run.spec.method.targets for run in pack.runs}) == 1 for pack in packs)
    assert sorted(keys(packs)) == sorted(run.key for run in runs)


def test_the_runs_of_a_task_stay_together() -> None:
    packs = pack_runs(planned("abcd", seeds=4), width=4, concurrent=2, base_tasks=[])
    assert [{run.spec.task.name for run in pack.runs} for pack in packs] == [{"a"}, {"b"}, {"c"}, {"d"}]


def test_every_unscored_task_is_scored_by_exactly_one_pack_that_trains_on_it() -> None:
    packs = pack_runs(planned("abc", ("attention", "mlp"), seeds=5), width=3, concurrent=2, base_tasks=["c", "a"])
    assert sorted(task for pack in packs for task in pack.base_tasks) == ["a", "c"]
    for pack in packs:
        assert {*pack.base_tasks} <= {run.spec.task.name for run in pack.runs}


def test_pack_names_differ_also_between_attempts() -> None:
    runs = planned(seeds=9)
    names = [
        pack.name
        for attempt in (1, 2)
        for pack in pack_runs(runs, width=2, concurrent=1, base_tasks=[], attempt=attempt)
    ]
    assert len(names) == len(set(names)) == 10


def test_nothing_to_train_makes_no_pack() -> None:
    assert pack_runs([], width=8, concurrent=4, base_tasks=["a"]) == []


def test_the_width_of_a_pack_is_the_recipes_or_the_default() -> None:
    assert (pack_width(3), pack_width("auto")) == (3, 8)


def test_a_hundred_thousand_runs_are_packed_in_seconds() -> None:
    start = time.process_time()
    one = planned(seeds=1)[0].spec
    runs = [PlannedRun(f"{index:016x}", one) for index in range(100_000)]
    packs = pack_runs(runs, width=8, concurrent=3, base_tasks=["a"])
    assert keys(packs) == [run.key for run in runs]
    assert time.process_time() - start < 10
