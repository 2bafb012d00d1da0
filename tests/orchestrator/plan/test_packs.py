"""Packs: every run once, equal sizes, one set of targets each, and work for every trainer."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from orchestrator.plan.packs import Pack, pack_runs
from orchestrator.plan.runs import PlannedRun, RunSpec, expand, keyed
from orchestrator.recipe.sections import MethodSpec, OptimSpec, TaskSpec
from orchestrator.recipe.spec import SweepSpec


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
        optim=OptimSpec(lr=[(index + 1) * 1e-6 for index in range(rates)]),
    )
    return keyed(expand(sweep), "base", dict.fromkeys(tasks, "data"))


GOLDEN = {  # of format 2, by method: lr 2e-4 and 1e-5 with the smallest and the largest seed each
    "d2lora": ("e759231314a3bf34", "e3fa0e82be8f5347", "271e73db2aa8f453", "51fc5f1584bc2c48"),
    "lora": ("5eb1189d5fb952cf", "e82b3ce5721c7cfe", "4698338d45de171e", "a281169131f60133"),
    "dora": ("c8024056f036e082", "b4bfd05e8d8d209f", "56fbc04096283bf1", "9cb949f6a28a619e"),
}


def golden() -> SweepSpec:
    d2lora = {"rank": 8, "alpha": 16.0, "tau": 0.5, "readd": 1, "norm_axis": "out", "norm_grad": "through"}
    return SweepSpec(
        name="golden",
        tasks=[TaskSpec(name="boolq")],
        methods=[
            MethodSpec(name="d2lora", settings=d2lora | {"rank_minus": None}, label="d2", targets="attention+mlp"),
            MethodSpec(
                name="lora", settings={"alpha": 32, "rank": 16, "rslöra": True}, label="l", targets="*.q_proj,*.v_proj"
            ),
            MethodSpec(name="dora", settings={"rank": 4, "alpha": 1e-05}, label="dora", targets="mlp"),
        ],
        seeds=[0, 2**63 - 1],
        optim=OptimSpec(lr=[2e-4, 1e-5], betas=[0.9, 0.95], clip=None),
    )


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


def test_keys_of_a_format_never_change_or_finished_runs_would_be_trained_again() -> None:
    runs = keyed(expand(golden()), "b" * 16, {"boolq": "d" * 16})
    for method, known in GOLDEN.items():
        assert tuple(run.key for run in runs if run.spec.method.name == method) == known
    assert len(runs) == 12


def test_a_plan_has_the_key_that_each_run_has_by_itself_whatever_stands_beside_it() -> None:
    runs = expand(golden())
    apart = [RunSpec.model_validate_json(run.model_dump_json()) for run in runs]
    assert apart == runs
    for order in (runs, runs[::-1], runs[::2] + runs[1::2], apart):
        assert [run.key for run in keyed(order, "base", {"boolq": "data"})] == [
            run.key("base", "data") for run in order
        ]


@pytest.mark.parametrize("count", [1, 2, 5, 8, 9, 31])
@pytest.mark.parametrize("width", [1, 2, 8, 100])
@pytest.mark.parametrize("concurrent", [1, 2, 3, 50])
def test_packs_hold_every_run_once_in_equal_shares_and_keep_all_trainers_busy(
    count: int, width: int, concurrent: int
) -> None:
    runs = planned(seeds=count)
    packs = pack_runs(runs, widths={"a": width}, concurrent=concurrent, base_tasks=["a"])
    sizes = [len(pack.runs) for pack in packs]
    assert sorted(keys(packs)) == sorted(run.key for run in runs)
    assert max(sizes) <= width
    assert max(sizes) - min(sizes) <= 1
    assert len(packs) >= min(count, concurrent)
    assert len(packs) == count or len(packs) % concurrent == 0


def test_no_more_packs_are_made_than_the_trainers_need() -> None:
    assert len(pack_runs(planned(seeds=16), widths={"a": 8}, concurrent=2, base_tasks=[])) == 2
    assert len(pack_runs(planned(seeds=17), widths={"a": 8}, concurrent=2, base_tasks=[])) == 4


def test_targets_are_never_mixed_in_a_pack_and_no_run_is_lost() -> None:
    runs = planned("ab", ("attention", "mlp", "attention"), seeds=5)
    packs = pack_runs(runs, widths={"a": 4, "b": 4}, concurrent=1, base_tasks=[])
    assert all(len({run.spec.method.targets for run in pack.runs}) == 1 for pack in packs)
    assert sorted(keys(packs)) == sorted(run.key for run in runs)


def test_the_runs_of_a_task_stay_together() -> None:
    packs = pack_runs(planned("abcd", seeds=4), widths=dict.fromkeys("abcd", 4), concurrent=2, base_tasks=[])
    assert [{run.spec.task.name for run in pack.runs} for pack in packs] == [{"a"}, {"b"}, {"c"}, {"d"}]


def test_every_unscored_task_is_scored_by_exactly_one_pack_that_trains_on_it() -> None:
    packs = pack_runs(
        planned("abc", ("attention", "mlp"), seeds=5),
        widths=dict.fromkeys("abc", 3),
        concurrent=2,
        base_tasks=["c", "a"],
    )
    assert sorted(task for pack in packs for task in pack.base_tasks) == ["a", "c"]
    for pack in packs:
        assert {*pack.base_tasks} <= {run.spec.task.name for run in pack.runs}


def test_pack_names_differ_also_between_attempts() -> None:
    runs = planned(seeds=9)
    names = [
        pack.name
        for attempt in (1, 2)
        for pack in pack_runs(runs, widths={"a": 2}, concurrent=1, base_tasks=[], attempt=attempt)
    ]
    assert len(names) == len(set(names)) == 10


def test_nothing_to_train_makes_no_pack() -> None:
    assert pack_runs([], widths={"a": 8}, concurrent=4, base_tasks=["a"]) == []


def test_each_task_is_packed_at_its_own_width_and_the_longest_packs_come_first() -> None:
    runs = planned("abc", seeds=8)
    packs = pack_runs(
        runs, widths={"a": 8, "b": 1, "c": 4}, concurrent=1, base_tasks=[], work={"a": 1.0, "b": 10.0, "c": 1.0}
    )
    there = [("".join(sorted({run.spec.task.name for run in pack.runs})), len(pack.runs)) for pack in packs]
    assert there == [("b", 1)] * 8 + [("a", 8), ("c", 4), ("c", 4)]
    assert [pack.name for pack in packs] == sorted(pack.name for pack in packs)


def test_tasks_with_few_runs_share_packs_if_their_widths_are_equal() -> None:
    packs = pack_runs(planned("abc", seeds=2), widths={"a": 4, "b": 4, "c": 8}, concurrent=1, base_tasks=[])
    assert sorted("".join(run.spec.task.name for run in pack.runs) for pack in packs) == ["aabb", "cc"]


def test_a_hundred_thousand_runs_are_packed_in_seconds() -> None:
    start = time.process_time()
    one = planned(seeds=1)[0].spec
    runs = [PlannedRun(f"{index:016x}", one) for index in range(100_000)]
    packs = pack_runs(runs, widths={"a": 8}, concurrent=3, base_tasks=["a"])
    assert sorted(keys(packs)) == sorted(run.key for run in runs)
    assert time.process_time() - start < 10


def test_a_hundred_thousand_runs_are_expanded_and_keyed_in_seconds() -> None:
    start = time.process_time()
    assert len({run.key for run in planned(seeds=25_000, rates=4)}) == 100_000
    assert time.process_time() - start < 10  # 1 was measured
