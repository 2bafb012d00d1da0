"""Rungs and verdicts: where a run is judged, who goes on, and against whom."""

from __future__ import annotations

import pytest

from orchestrator.errors import InputError
from orchestrator.halving import Halving, bundles, contest, judge, reason, rungs_told, together
from orchestrator.plan import PlannedRun, expand, keyed, pack_runs
from orchestrator.spec import MethodSpec, OptimSpec, SearchSpec, SweepSpec, TaskSpec


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
    assert (only.goes_on, only.places, only.cut) == (True, 2, 0.1)


def test_the_reason_says_where_with_what_and_what_would_have_been_enough() -> None:
    verdict = judge(0.312, [0.312, 0.48, 0.5, 0.1, None], 3)
    assert reason(verdict, 23, 90) == (
        "Stopped at step 23 of 90: 31.2 % on validation is not among the best 2 of 5 runs of its task and seed that "
        "had come so far (the cut was 48.0 %)."
    )


def planned() -> list[PlannedRun]:
    sweep = SweepSpec(
        name="s",
        tasks=[TaskSpec(name="boolq"), TaskSpec(name="arc_easy")],
        methods=[MethodSpec(name="lora", settings={"rank": 8}, label="lora", targets="attention")],
        seeds=[5, 1],
        optim=OptimSpec(lr=[1e-4, 2e-4, 4e-4, 8e-4]),
    )
    return keyed(expand(sweep), "b", {"boolq": "d", "arc_easy": "e"})


def test_rivals_are_the_settings_of_one_task_and_one_seed() -> None:
    runs = planned()
    found = contest(SearchSpec(kind="asha"), runs)
    assert found is not None
    for run in runs:
        wanted = [one.key for one in runs if (one.spec.task, one.spec.seed) == (run.spec.task, run.spec.seed)]
        assert found.rivals[run.key] == tuple(wanted)
        assert len(wanted) == 4
    assert found.only(runs[:3]).rivals.keys() == {run.key for run in runs[:3]}
    assert contest(SearchSpec(), runs) is contest(SearchSpec(kind="racing"), runs) is None


def test_rivals_stand_together_in_an_order_that_no_rate_decides() -> None:
    runs = planned()
    ordered = together(runs)
    places = [(run.spec.task.name, run.spec.seed) for run in ordered]
    assert places == [(task, seed) for task in ("boolq", "arc_easy") for seed in (5, 1) for _ in range(4)]
    rates = [[run.spec.lr for run in ordered[begin : begin + 4]] for begin in range(0, 16, 4)]
    assert len({tuple(one) for one in rates}) > 1


@pytest.mark.parametrize(
    ("width", "fields", "sizes"),
    [(8, 2, [8, 8]), (4, 1, [4] * 4), (7, 1, [4] * 4), (3, 1, [2] * 8), (1, 1, [1] * 16)],
)
def test_packs_are_made_of_whole_fields_of_rivals_or_of_one(width: int, fields: int, sizes: list[int]) -> None:
    runs = together(planned())
    widths = {"boolq": width, "arc_easy": width}
    packs = pack_runs(runs, widths=widths, concurrent=1, base_tasks=[], apart=bundles(runs, widths))
    assert [len(pack.runs) for pack in packs] == sizes
    for pack in packs:
        assert len({run.spec.task.name for run in pack.runs}) == 1
        assert len({run.spec.seed for run in pack.runs}) <= fields


def test_tasks_too_small_for_a_pack_of_their_own_still_share_one() -> None:
    runs = together(planned())
    widths = {"boolq": 16, "arc_easy": 16}
    packs = pack_runs(runs, widths=widths, concurrent=1, base_tasks=[], apart=bundles(runs, widths))
    assert [len(pack.runs) for pack in packs] == [16]


def test_another_first_rung_or_factor_is_another_rule() -> None:
    rules = {Halving(first, factor).rule for first in (0.25, 25, 0.5) for factor in (2, 3)}
    assert len(rules) == 6
    assert Halving.of(SearchSpec(kind="asha", rung=25, factor=2)) == Halving(25, 2)


def test_a_task_that_is_too_short_to_be_judged_is_said_to_be() -> None:
    search = SearchSpec(kind="asha", rung=6)
    assert rungs_told(search, {"long": 30, "short": 6}) == [
        "runs on long: judged after step 6, 12 and 24 of 30",
        "runs on short: too short to judge",
    ]
    assert rungs_told(SearchSpec(), {"long": 30}) == []
    with pytest.raises(InputError, match="which has 6 on short and 5 on shorter: give fewer steps, a share"):
        rungs_told(search, {"short": 6, "shorter": 5})
