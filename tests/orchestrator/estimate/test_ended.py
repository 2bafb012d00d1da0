"""What a sweep's folder holds already is left out of its plan, by run keys, without preparing anything."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from orchestrator.estimate.ended import SAMPLE, Ended, look_at_ended, nothing_ended
from orchestrator.estimate.estimate import Estimate, estimate
from orchestrator.estimate.model_shapes import shape_of
from orchestrator.estimate.terms import Terms
from orchestrator.files import read_json, write_json
from orchestrator.plan.runs import expand
from orchestrator.prices.table import Price
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.sweep_folder import SweepFolder
from tests.helpers.places import ROOT

STORED = ROOT / "tests" / "stored"


@pytest.fixture
def spec(tmp_path: Path) -> SweepSpec:
    """The stored sweep, of which six runs are committed and two were stopped, and two seeds that it lacks."""
    shutil.copytree(STORED / "sweep", tmp_path / "sweeps" / "stored")
    shutil.copytree(STORED / "base", tmp_path / "base")
    words = [f"storage={tmp_path / 'sweeps'}", f"model.path={tmp_path / 'base'}"]
    made = read_recipe(STORED / "stored.yaml", words)
    folder = SweepFolder.of(made)
    before = read_json(folder.sweep)  # it was made where its base lay elsewhere
    write_json(folder.sweep, before | {"recipe": before["recipe"] | {"model": made.model.model_dump()}})
    return made


def looked(spec: SweepSpec) -> Ended:
    return look_at_ended(spec, expand(spec), SweepFolder.of(spec))


def planned(spec: SweepSpec, **others: object) -> Estimate:
    return estimate(spec, *shape_of(spec.model), folder=SweepFolder.of(spec), **others)  # type: ignore[arg-type]


def test_ended_runs_are_those_whose_keys_have_an_end_on_disk(spec: SweepSpec) -> None:
    ended = looked(spec)
    assert (len(ended.runs), ended.count, ended.left) == (8, 8, [])
    assert len(ended.sampled) == 6  # the stopped ones have no whole time
    assert ended.seconds > 0
    folder = SweepFolder.of(spec)
    shutil.rmtree(folder.run(ended.runs[0].key).path)
    again = looked(spec)
    assert again.left == [ended.runs[0]]
    assert again.note == str(folder.path)


def test_a_plan_is_of_what_is_left_at_the_speed_that_was_measured(spec: SweepSpec) -> None:
    folder = SweepFolder.of(spec)
    whole = estimate(spec, *shape_of(spec.model))
    for run in looked(spec).runs[:2]:
        shutil.rmtree(folder.run(run.key).path)
    plan = planned(spec, terms=Terms(price=Price(usd=2.0)))
    assert (plan.runs, plan.ended) == (8, 6)
    assert plan.work is not None
    assert whole.work is not None
    assert plan.work.operations == pytest.approx(whole.work.operations / 4, rel=0.05)  # two methods
    assert plan.rate.source.startswith("measured on ")
    assert plan.money.spent_usd is not None
    assert plan.money.spent_usd > 0
    given = planned(spec, tflops=3.0)
    assert given.rate.tflops == 3.0


def test_a_finished_sweep_has_nothing_left_to_pay(spec: SweepSpec) -> None:
    plan = planned(spec, terms=Terms(price=Price(usd=2.0)))
    assert (plan.ended, plan.packs, plan.memory) == (8, 0, None)
    assert plan.duration is not None
    assert (plan.duration.hours, plan.duration.cost) == (0.0, 0.0)


@pytest.mark.parametrize("change", [{"data": "train_samples"}, {"model": "path"}])
def test_other_rows_or_another_base_take_nothing_and_it_is_said(spec: SweepSpec, change: dict[str, str]) -> None:
    folder = SweepFolder.of(spec)
    ((section, key),) = change.items()
    before = read_json(folder.sweep)
    before["recipe"][section][key] = 7 if section == "data" else "elsewhere"
    write_json(folder.sweep, before)
    ended = looked(spec)
    assert ended.count == 0
    assert "of another base or other rows: nothing is taken" in ended.note


def test_a_folder_that_is_not_there_or_damaged_is_a_sweep_without_ends(spec: SweepSpec, tmp_path: Path) -> None:
    folder = SweepFolder.of(spec)
    empty = look_at_ended(spec, expand(spec), SweepFolder(tmp_path / "nowhere"))
    assert (empty.count, empty.note) == (0, "")
    folder.sweep.write_text("{")
    assert looked(spec).count == 0
    for content in ([], {"recipe": {}}, {"recipe": {"tasks": 3}, "data": {}}, {"recipe": {}, "data": {"a": 1}}):
        write_json(folder.sweep, content)
        assert looked(spec).count == 0
        assert "is not what a sweep writes" in looked(spec).note
    assert nothing_ended(expand(spec)).count == 0


def test_the_account_of_a_budget_counts_before_the_rows(spec: SweepSpec) -> None:
    by_rows = looked(spec).worker_seconds
    assert by_rows > 0
    write_json(SweepFolder.of(spec).spent, {"worker_seconds": by_rows + 1000.0})
    assert looked(spec).worker_seconds == by_rows + 1000.0
    write_json(SweepFolder.of(spec).spent, {"worker_seconds": "much"})
    assert looked(spec).worker_seconds == by_rows
    assert SAMPLE > 100
