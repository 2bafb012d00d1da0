"""Seeds on two axes: which runs they are, what each of the two decides, and that plain seeds are what they were."""

from __future__ import annotations

from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from rich.console import Console

from orchestrator.driver.final_message import run_name
from orchestrator.errors import InputError
from orchestrator.estimate.estimate import estimate
from orchestrator.estimate.power import independent, is_tested
from orchestrator.estimate.table import print_plan
from orchestrator.plan.runs import PlannedRun, RunSpec, expand, keyed
from orchestrator.recipe.frozen import with_values
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.sections import MethodSpec, TaskSpec
from orchestrator.recipe.seeds import LIMIT, SeedAxes, SeedPair, drawn
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.rows import result_row
from orchestrator.store.run_folder import RunFolder
from orchestrator.tracking.mlflow import fields
from orchestrator.worker.lanes import lane_of_run
from tests.helpers.sweeps import rows_of, run

LORA = MethodSpec(name="lora", settings={"rank": 8, "alpha": 16.0, "dropout": 0.1}, label="lora", targets="attention")


def sweep(seeds: Any) -> SweepSpec:
    return SweepSpec.model_validate(
        {"name": "mine", "tasks": [TaskSpec(name="boolq")], "methods": [LORA], "seeds": seeds}
    )


def runs(seeds: Any) -> list[PlannedRun]:
    return keyed(expand(sweep(seeds)), "base", {"boolq": "data"})


def axes(init: list[int], data: list[int]) -> SeedAxes:
    return SeedAxes(init=init, data=data)


# -- which runs they are


def test_every_start_meets_every_order_of_the_data_once() -> None:
    grid = runs({"init": [0, 1], "data": [0, 1, 2]})
    assert [(one.spec.init_seed, one.spec.data_seed) for one in grid] == [*product((0, 1), (0, 1, 2))]
    assert len({one.key for one in grid}) == len({one.spec.seed for one in grid}) == 6


def test_a_pair_of_equal_seeds_is_the_very_run_of_the_plain_seed() -> None:
    plain, grid = runs([0, 1]), runs({"init": [0, 1], "data": [0, 1]})
    assert [one for one in grid if one.spec.init_seed == one.spec.data_seed] == plain


def test_plain_seeds_draw_both_and_have_the_keys_that_they_have_always_had() -> None:
    (one,) = runs([7])
    assert (one.spec.seed, one.spec.init_seed, one.spec.data_seed, one.spec.seed_pair) == (7, 7, 7, None)
    settings = {"rank": 8, "alpha": 16.0}
    old = sweep([0]).model_copy(update={"methods": [LORA.model_copy(update={"settings": settings})]})
    assert expand(old)[0].key("base", "data") == "5a7ab1ef5ab9ff0e"  # of this format: tests/.../test_spec.py


def test_a_label_is_one_number_for_a_pair_in_every_sweep_and_no_other_pair_has_it() -> None:
    assert SeedPair(init=2, data=1).label == 1002001
    assert SeedPair(init=12345, data=7).label == 11234500007
    values = [*range(12), 99, 100, 101, 999, 1000, 1001, 2001, 10000, 100200, LIMIT - 1]
    pairs = [SeedPair(init=init, data=data) for init, data in product(values, values)]
    assert len({pair.label for pair in pairs}) == len(pairs)
    assert max(pair.label for pair in pairs) < 2**53  # whatever reads JSON reads it exactly
    assert all(pair.label >= LIMIT for pair in pairs if pair.init != pair.data)


def test_growing_an_axis_leaves_the_runs_that_there_are() -> None:
    assert {one.key: one.spec.seed for one in runs({"init": [0, 1], "data": [0, 1]})}.items() <= {
        one.key: one.spec.seed for one in runs({"init": [0, 1, 5], "data": [3, 0, 1]})
    }.items()


def test_one_seed_of_an_axis_may_stand_alone() -> None:
    assert sweep({"init": 3, "data": [0, 1]}) == sweep({"init": [3], "data": [0, 1]})
    assert drawn(axes([3], [0, 3])) == [(1003000, SeedPair(init=3, data=0)), (3, None)]


def test_runs_on_two_axes_survive_json_and_a_sweep_its_own() -> None:
    spec = sweep({"init": [0, 1], "data": [2]})
    assert SweepSpec.model_validate_json(spec.model_dump_json()) == spec
    for one in expand(spec):
        assert RunSpec.model_validate_json(one.model_dump_json()) == one


def test_a_changed_copy_cannot_say_one_seed_and_train_another() -> None:
    (one,) = expand(sweep({"init": [2], "data": [1]}))
    with pytest.raises(ValidationError, match=r"seed=5 is not the label of init=2, data=1, which is 1002001"):
        with_values(one, {"seed": 5})
    assert with_values(one, {"seed": 5, "seed_pair": None}).data_seed == 5


# -- what each of the two decides


def test_the_lane_takes_the_start_and_dropouts_seed() -> None:
    (one,) = runs({"init": [2], "data": [1]})
    assert lane_of_run(one).seed == 2


def test_the_first_loss_follows_the_datas_seed_alone_and_the_second_the_starts_too(recipe: Path) -> None:
    words = ["seeds={init: [0, 1], data: [0, 1]}", "tasks=[tiny_recall]", "methods=[{name: lora, rank: 4, alpha: 8}]"]
    code, told, folder = run(recipe, *words, "tracking.uri=none", "champions=false")
    assert code == 0, told
    rows = rows_of(folder)
    losses = {
        (row["init_seed"], row["data_seed"]): [
            step["train_loss"] for step in RunFolder(folder / "runs" / row["run_key"]).metrics()
        ]
        for row in rows
    }
    assert losses.keys() == {*product((0, 1), (0, 1))}
    assert [row["seed"] for row in rows] == [0, 1000001, 1001000, 1]
    for data in (0, 1):  # every adapter begins as the base, whatever its start
        assert losses[0, data][0] == pytest.approx(losses[1, data][0], rel=1e-5)  # float32, in packs of another make-up
        assert abs(losses[0, data][2] - losses[1, data][2]) > 1e-4 * losses[0, data][2]
    for init in (0, 1):
        assert abs(losses[init, 0][0] - losses[init, 1][0]) > 1e-3 * losses[init, 0][0]

    code, told, _ = run(recipe, "seeds=[0, 1]", *words[1:], "tracking.uri=none", "champions=false")
    assert (code, "2 done already, 0 to train" in told) == (0, True), told
    assert [(row["seed"], row["init_seed"], row["data_seed"]) for row in rows_of(folder)] == [(0, 0, 0), (1, 1, 1)]


# -- where they are told


def test_rows_tags_parameters_and_names_tell_both_seeds(tmp_path: Path) -> None:
    (plain,), (apart,) = runs([3]), runs({"init": [2], "data": [1]})
    for one, seeds in ((plain, (3, 3, 3)), (apart, (1002001, 2, 1))):
        names = dict(zip(("seed", "init_seed", "data_seed"), seeds, strict=True))
        row = result_row(one, RunFolder(tmp_path / one.key), "not trained yet", {})
        for shown in (row, fields.tags(one, "python jobs/sweep.py r.yaml"), fields.params(one)):
            assert {name: int(shown[name]) for name in names} == names
    row = result_row(apart, RunFolder(tmp_path / apart.key), "not trained yet", {})
    assert run_name(row) == "lora, lr 0.0002, seed 1002001 (init 2, data 1)"
    assert fields.title(apart).startswith("seed 1002001 (init 2, data 1) · lr 0.0002")
    assert fields.title(plain).startswith("seed 3 · lr")


def test_a_row_that_was_committed_before_there_were_axes_gets_both_seeds(tmp_path: Path) -> None:
    (one,) = runs([3])
    attempt = RunFolder(tmp_path / one.key).begin({})
    attempt.diverge({"run_key": one.key, "seed": 3, "status": "diverged"})
    row = result_row(one, RunFolder(tmp_path / one.key), "", {})
    assert (row["status"], row["init_seed"], row["data_seed"]) == ("diverged", 3, 3)


@pytest.mark.parametrize(
    ("seeds", "worth"),
    [
        ([0], 1),
        ([0, 1, 2], 3),
        (axes([2, 3, 4, 5], [0, 1, 2]), 3),
        (axes([0, 1], [0, 1, 2]), 2),
        (axes([0], [0, 1, 2]), 3),
        (axes([1], [2]), 1),
    ],
)
def test_a_grid_is_worth_its_shorter_axis_and_a_held_seed_counts_for_nothing(seeds: Any, worth: int) -> None:
    assert independent(seeds) == worth
    plan = estimate(sweep(seeds), None, "a test")
    assert (plan.runs, plan.seeds, plan.independent_seeds) == (len(drawn(seeds)), len(drawn(seeds)), worth)
    if plan.tested:
        assert plan.detectable == estimate(sweep([*range(worth)]), None, "a test").detectable


@pytest.mark.parametrize(
    ("seeds", "wanted"),
    [(axes([0, 1], [0, 1, 2]), False), (axes([0, 1, 2], [0, 1, 2]), True), (axes([0, 1], [2]), True), ([0], False)],
)
def test_on_a_grid_with_two_seeds_on_an_axis_nothing_is_tested_and_the_plan_says_so(seeds: Any, wanted: bool) -> None:
    plan, told = estimate(sweep(seeds), None, "a test"), Console(width=1000, file=StringIO())
    assert (is_tested(seeds), plan.tested) == (wanted, wanted)
    assert (plan.detectable[0].difference is not None) == wanted
    print_plan(plan, told)
    text = told.file.getvalue()
    assert ("What this grid of seeds can show" in text) == (seeds == axes([0, 1], [0, 1, 2]))
    assert ("with fewer than 3 seeds on an axis does not tell how much seeds differ" in text) == (
        seeds == axes([0, 1], [0, 1, 2])
    )


# -- what is refused


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{inti: [0], data: [0]}", ":4: Unknown key 'seeds.inti'. Did you mean 'seeds.init'?"),
        ("{init: [0]}", ":4: seeds.data: Field required"),
        ("{init: [], data: [0]}", ":4: seeds.init: List should have at least 1 item"),
        ("\n  init: [0]\n  data: [0, 1, 0]", ":6: seeds.data: seed 0 stands here twice"),
        ("\n  init: [0, -1]\n  data: [0]", ":5: seeds.init.1: Input should be greater than or equal to 0 (found -1)"),
        ("{init: [1000000], data: [0]}", ":4: seeds.init.0: Input should be less than 1000000 (found 1000000)"),
        ("{init: [0.5], data: [0]}", ":4: seeds.init.0: Input should be a valid integer"),
        ("{init: true, data: [0]}", ":4: seeds.init: Input should be a valid array (found True)"),
        ("{init: [[0]], data: [0]}", ":4: seeds.init.0: Input should be a valid integer"),
        ("{}", ":4: seeds is {}; it is a list, for example [0, 1, 2], or keys: {init: [0, 1, 2], data: [0, 1, 2]}."),
    ],
)
def test_axes_that_are_none_are_refused_with_line_and_key(tmp_path: Path, text: str, wanted: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: mine\ntasks: [boolq]\nmethods: [lora]\nseeds: {text}\n")
    with pytest.raises(InputError) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(f"{path}{wanted}")
    assert str(caught.value).count("\n") == 0  # of the form that was meant alone
