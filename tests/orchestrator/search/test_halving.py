"""Rungs and verdicts: where a run is judged, who goes on, and against whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pytest

from orchestrator.errors import InputError
from orchestrator.plan.packs import Pack, pack_runs
from orchestrator.plan.runs import PlannedRun, expand, keyed
from orchestrator.recipe.search import Asha, Grid, Racing
from orchestrator.recipe.sections import MethodSpec, OptimSpec, TaskSpec
from orchestrator.recipe.spec import SweepSpec
from orchestrator.search.halving import Halving, contest, field_of, judge, reason, rung_lines, stopping_rule, together


@pytest.mark.parametrize(
    ("first", "factor", "total", "steps"),
    [
        (0.25, 3, 90, (23, 68)),  # 22.5 and 67.5 are rounded up
        (0.1, 2, 100, (10, 20, 40, 80)),
        (5, 3, 46, (5, 15, 45)),
        (5, 3, 45, (5, 15)),  # the last step is no rung
        (0.29, 3, 100, (29, 87)),  # 0.29 * 100 is 28.999999999999996 in floats
        (0.001, 3, 90, (1, 2, 7, 22, 66)),  # each step once, and none before the first
        (50, 3, 40, ()),
        (0.5, 2, 1, ()),
    ],
)
def test_rungs_are_steps_of_the_run_each_once_and_never_the_last(first, factor, total, steps) -> None:
    assert Halving(first, factor).steps(total) == steps


def test_the_first_to_come_goes_on_and_then_one_in_factor_rounded_up() -> None:
    assert judge(0.1, [0.1], 3).goes_on
    assert not judge(0.1, [0.1, 0.2], 3).goes_on
    four = [0.1, 0.2, 0.3, 0.4]
    assert [judge(score, four, 3).goes_on for score in four] == [False, False, True, True]
    assert [judge(score, four, 4).goes_on for score in four] == [False, False, False, True]


def test_runs_that_tie_with_the_cut_all_go_on() -> None:
    scores = [0.5, 0.5, 0.5, 0.4]
    assert [judge(score, scores, 4).goes_on for score in scores] == [True, True, True, False]


def test_a_run_that_diverged_on_its_way_counts_as_beaten() -> None:
    assert not judge(0.2, [0.3, 0.2, 0.1], 3).goes_on
    assert judge(0.2, [0.3, 0.2, 0.1, None], 3).goes_on
    only = judge(0.1, [None, None, None, 0.1], 3)
    assert (only.goes_on, only.kept, only.cut) == (True, 2, 0.1)


def test_the_reason_says_where_with_what_and_what_would_have_been_enough() -> None:
    verdict = judge(0.312, [0.312, 0.48, 0.5, 0.1, None], 3)
    assert reason(verdict, 23, 90) == (
        "Stopped at step 23 of 90: 31.2 % on validation is not among the best 2 of 5 runs of its task and seed that "
        "had come so far (the cut was 48.0 %)."
    )


def planned(
    tasks: Sequence[str] = ("boolq", "arc_easy"), seeds: Sequence[int] = (5, 1), settings: int = 4
) -> list[PlannedRun]:
    sweep = SweepSpec(
        name="s",
        tasks=[TaskSpec(name=task) for task in tasks],
        methods=[MethodSpec(name="lora", settings={"rank": 8}, label="lora", targets="attention")],
        seeds=list(seeds),
        optim=OptimSpec(lr=[1e-4 * 2**index for index in range(settings)]),
    )
    return keyed(expand(sweep), "b", {task: f"data of {task}" for task in tasks})


def packed(runs: Sequence[PlannedRun], width: int, trainers: int = 1) -> list[Pack]:
    widths = {run.spec.task.name: width for run in runs}
    return pack_runs(together(runs), widths=widths, concurrent=trainers, base_tasks=[], field_of=field_of)


def fields(pack: Pack) -> set[tuple[str, int]]:
    return {field_of(run) for run in pack.runs}


def test_rivals_are_the_settings_of_one_task_and_one_seed() -> None:
    runs = planned()
    of_all = contest(Asha(), runs)
    assert of_all is not None
    for run in runs:
        wanted = [one.key for one in runs if (one.spec.task, one.spec.seed) == (run.spec.task, run.spec.seed)]
        assert of_all.rivals[run.key] == tuple(wanted)
        assert len(wanted) == 4
    assert of_all.only(runs[:3]).rivals.keys() == {run.key for run in runs[:3]}
    assert contest(Grid(), runs) is contest(Racing(), runs) is None


def test_rivals_stand_together_in_an_order_that_no_rate_decides() -> None:
    runs = planned()
    ordered = together(runs)
    places = [(run.spec.task.name, run.spec.seed) for run in ordered]
    assert places == [(task, seed) for task in ("boolq", "arc_easy") for seed in (5, 1) for _ in range(4)]
    rates = [[run.spec.lr for run in ordered[begin : begin + 4]] for begin in range(0, 16, 4)]
    assert len({tuple(one) for one in rates}) > 1


@pytest.mark.parametrize(
    ("width", "most", "sizes"),
    [(8, 2, [8, 8]), (4, 1, [4] * 4), (7, 1, [4] * 4), (3, 1, [2] * 8), (1, 1, [1] * 16)],
)
def test_packs_are_made_of_whole_fields_of_rivals_or_of_one(width: int, most: int, sizes: list[int]) -> None:
    packs = packed(planned(), width)
    assert [len(pack.runs) for pack in packs] == sizes
    for pack in packs:
        assert len({run.spec.task.name for run in pack.runs}) == 1
        assert len(fields(pack)) <= most


def test_tasks_too_small_for_a_pack_of_their_own_still_share_one() -> None:
    assert [len(pack.runs) for pack in packed(planned(), 16)] == [16]


CUT_ONCE = [  # tasks, seeds, settings, width, trainers -> sizes; where shares are cut anywhere, each halves a field
    (1, 3, 4, 12, 2, [8, 4]),
    (1, 2, 8, 16, 3, [8, 8]),  # a trainer is idle
    (3, 1, 4, 6, 1, [4, 4, 4]),
    (1, 3, 4, 12, 3, [4, 4, 4]),
    (3, 1, 4, 14, 2, [8, 4]),
    (2, 3, 5, 13, 3, [5] * 6),
    (2, 3, 5, 13, 2, [10, 10, 5, 5]),
]


@pytest.mark.parametrize(("tasks", "seeds", "settings", "width", "trainers", "sizes"), CUT_ONCE)
def test_a_field_that_fits_in_a_pack_is_never_cut_to_keep_trainers_busy(
    tasks: int, seeds: int, settings: int, width: int, trainers: int, sizes: list[int]
) -> None:
    runs = planned(("boolq", "arc_easy", "openbookqa")[:tasks], range(seeds), settings)
    packs = packed(runs, width, trainers)
    there = [field for pack in packs for field in fields(pack)]
    assert len(there) == len(set(there)) == tasks * seeds
    assert sorted((len(pack.runs) for pack in packs), reverse=True) == sizes
    assert {run.key for pack in packs for run in pack.runs} == {run.key for run in runs}


@pytest.mark.parametrize("trainers", [1, 2, 3])
@pytest.mark.parametrize(("settings", "width", "parts"), [(5, 4, [2, 3]), (8, 3, [2, 3, 3]), (9, 4, [3, 3, 3])])
def test_a_field_wider_than_a_pack_is_in_as_few_parts_as_it_needs_and_alone_in_each(
    trainers: int, settings: int, width: int, parts: list[int]
) -> None:
    packs = packed(planned(settings=settings), width, trainers)
    assert all(len(fields(pack)) == 1 for pack in packs)
    sizes: dict[tuple[str, int], list[int]] = defaultdict(list)
    for pack in packs:
        sizes[field_of(pack.runs[0])].append(len(pack.runs))
    assert [sorted(one) for one in sizes.values()] == [parts] * 4


@pytest.mark.parametrize("trainers", [1, 2, 3])
@pytest.mark.parametrize("width", [4, 7, 8, 16])
def test_what_a_killed_sweep_left_of_fields_is_not_cut_either(trainers: int, width: int) -> None:
    runs = planned(seeds=[0, 1, 2, 3])
    left = [run for index, run in enumerate(together(runs)) if index % 7 > index // 8]  # fields of 1 to 4 runs
    assert len({sum(field_of(run) == field for run in left) for field in map(field_of, left)}) > 1
    packs = packed(left, width, trainers)
    there = [field for pack in packs for field in fields(pack)]
    assert len(there) == len(set(there))
    assert sorted(run.key for pack in packs for run in pack.runs) == sorted(run.key for run in left)
    assert max(len(pack.runs) for pack in packs) <= width


def test_another_first_rung_or_factor_is_another_rule() -> None:
    rules = {Halving(first, factor).rule for first in (0.25, 25, 0.5) for factor in (2, 3)}
    assert len(rules) == 6
    assert Halving.of(Asha(rung=25, factor=2)) == Halving(25, 2)
    assert stopping_rule(Asha(rung=25, factor=2)) == "asha: first rung 25, factor 2"
    assert stopping_rule(Grid()) is stopping_rule(Racing()) is None


def test_a_task_that_is_too_short_to_be_judged_is_said_to_be() -> None:
    search = Asha(rung=6)
    assert rung_lines(search, {"long": 30, "short": 6}) == [
        "runs on long: judged after step 6, 12 and 24 of 30",
        "runs on short: too short to judge",
    ]
    assert rung_lines(Grid(), {"long": 30}) == []
    with pytest.raises(InputError, match="which has 6 on short and 5 on shorter: give fewer steps, a share"):
        rung_lines(search, {"short": 6, "shorter": 5})
