"""The run keys of a recipe from what sweep.json says, equal to those of the sweep, or not known with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.plan.runs import expand, keyed
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.spec import SweepSpec
from orchestrator.upkeep.plan import plan_of

RECIPE = "name: own\ntasks: [boolq, arc_easy]\nmethods: [{name: lora, rank: 4}, {name: dora, rank: 3}]\nseeds: [0, 1]\n"
PRINTS = {"boolq": "b", "arc_easy": "a"}


def read(tmp_path: Path, *words: str) -> SweepSpec:
    (tmp_path / "own.yaml").write_text(RECIPE)
    return read_recipe(tmp_path / "own.yaml", words)


def made(spec: SweepSpec) -> dict[str, Any]:
    data = {task.name: {"fingerprint": PRINTS[task.name], "train": 100} for task in spec.tasks}
    return {"recipe": spec.model_dump(mode="json"), "base": "base", "data": data, "runs": []}


def test_keys_are_those_of_the_sweep(tmp_path: Path) -> None:
    spec = read(tmp_path)
    plan = plan_of(spec, made(spec))
    assert list(plan.runs) == keyed(expand(spec), "base", PRINTS)
    assert plan.steps == {"boolq": 8, "arc_easy": 8}
    assert plan.unknown == plan.assumed == ()
    assert plan_of(spec, None).keys == {}
    assert len(plan_of(spec, None).runs) == 8


def test_a_key_that_an_older_sweep_does_not_have_had_its_default(tmp_path: Path) -> None:
    spec = read(tmp_path)
    content = made(spec)
    for section in ("data", "model"):
        content["recipe"][section].clear()
    assert plan_of(spec, content).keys.keys() == plan_of(spec, made(spec)).keys.keys()


@pytest.mark.parametrize("word", ["optim.lr=1e-3", "seeds=[5]", "methods=[d2lora]", "storage=x", "engine.stage=1"])
def test_what_the_fingerprints_do_not_cover_may_change(tmp_path: Path, word: str) -> None:
    spec = read(tmp_path, word)
    plan = plan_of(spec, made(read(tmp_path)))
    assert list(plan.runs) == keyed(expand(spec), "base", PRINTS)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("data.max_length=64", "data: max_length is 64 in the recipe and was 512"),
        ("model.name=somebody/else", "model: name is 'somebody/else' in the recipe and was 'tiny'"),
        ("tasks=[boolq,winogrande]", "task winogrande is new in the recipe"),
        ("tasks=[{name: boolq, test: 'validation[:9]'}]", ""),
    ],
)
def test_other_data_or_another_base_have_keys_that_are_not_known(tmp_path: Path, word: str, reason: str) -> None:
    plan = plan_of(read(tmp_path, word), made(read(tmp_path)))
    assert reason in "; ".join(plan.unknown + plan.assumed)
    assert plan.unknown or plan.assumed


def test_the_ranks_that_a_budget_has_chosen_are_those_of_the_folder(tmp_path: Path) -> None:
    spec = read(tmp_path, "budget=parameters")
    chosen = read(tmp_path, "methods=[{name: lora, rank: 4}, {name: dora, rank: 4}]")
    with_ranks = spec.model_copy(update={"methods": chosen.methods})
    plan = plan_of(spec, made(with_ranks))
    assert list(plan.runs) == keyed(expand(with_ranks), "base", PRINTS)
    assert plan.unknown == ()
    other = plan_of(read(tmp_path, "budget=parameters", "methods=[d2lora]"), made(with_ranks))
    assert "chooses the ranks" in other.unknown[0]
