"""Equal parameters: which ranks they come to, that runs and their keys follow, and what is refused with its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.driver.prepare import make_ready
from orchestrator.errors import InputError
from orchestrator.estimate.estimate import estimate
from orchestrator.estimate.model_shapes import PUBLISHED, ModelShape
from orchestrator.plan.runs import expand, keyed
from orchestrator.recipe.equal_parameters import (
    TOLERANCE,
    at_rank,
    equalised,
    nearest_ranks,
    trained_parameters,
    with_equal_parameters,
)
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.sections import MethodSpec
from orchestrator.recipe.spec import SweepSpec
from orchestrator.recipe.targets import targets_of
from tests.helpers.sweeps import rows_of, run

SHAPE = ModelShape(96, 192, 2, 4, 2, 24, 100, tied=True)
SQUARE = {"a": (64, 64), "b": (64, 64)}
D2 = {"name": "d2lora", "rank": 8, "alpha": 16}


def sweep(folder: Path, *methods: Any, budget: str = "parameters", controls: str = "none") -> SweepSpec:
    path = folder / "recipe.yaml"
    path.write_text("name: mine\ntasks: [boolq]\nmethods: [lora]\nseeds: [0]\n")
    words = [f"methods={list(methods)}".replace("'", '"'), f"budget={budget}", f"controls={controls}"]
    return read_recipe(path, words)


def fitted(spec: SweepSpec, shape: ModelShape = SHAPE) -> dict[str, MethodSpec]:
    equal = with_equal_parameters(spec, lambda targets: shape.targets(targets_of(targets)))
    return {method.label: method for method in equal.methods}


def counts(methods: dict[str, MethodSpec], shape: ModelShape = SHAPE) -> dict[str, int]:
    return {
        label: trained_parameters(method, shape.targets(targets_of(method.targets)))
        for label, method in methods.items()
    }


# -- which ranks


def test_every_method_comes_to_the_references_parameters_and_keeps_its_scale(tmp_path: Path) -> None:
    spec = sweep(tmp_path, {"name": "lora", "rank": 4, "alpha": 4}, {"name": "dora", "rank": 2, "alpha": 8}, D2)
    methods = fitted(spec)
    assert methods["d2lora"] == spec.methods[2]  # the first d2lora is the reference, wherever it stands
    assert {label: method.settings["rank"] for label, method in methods.items()} == {
        "lora": 16,
        "dora": 16,
        "d2lora": 8,
    }
    assert {label: method.settings["alpha"] for label, method in methods.items()} == {
        "lora": 16,
        "dora": 64,
        "d2lora": 16,
    }
    wanted = counts(methods)["d2lora"]
    assert counts(methods)["lora"] == wanted
    assert abs(counts(methods)["dora"] / wanted - 1) <= TOLERANCE


def test_other_targets_take_the_rank_that_their_own_layers_need(tmp_path: Path) -> None:
    wide = {"name": "d2lora", "rank": 16, "alpha": 16, "targets": "attention+mlp", "label": "wide"}
    methods = fitted(sweep(tmp_path, {**D2, "rank": 16, "label": "d2lora"}, wide))
    assert methods["wide"].settings["rank"] == 7  # a rank costs 1,536 there and 672 here
    numbers = counts(methods)
    assert abs(numbers["wide"] / numbers["d2lora"] - 1) <= TOLERANCE


@pytest.mark.parametrize("base", PUBLISHED)
def test_matched_controls_of_the_papers_rank_are_equal_on_every_published_base(tmp_path: Path, base: str) -> None:
    spec = sweep(tmp_path, {"name": "d2lora", "rank": 16, "alpha": 32}, controls="matched")
    methods = fitted(spec, PUBLISHED[base])
    numbers = counts(methods, PUBLISHED[base])
    assert len(numbers) == 8
    assert max(abs(count / numbers["d2lora"] - 1) for count in numbers.values()) < 0.02
    ranks = {label: method.settings["rank"] for label, method in methods.items()}
    assert (ranks["lora-2r"], ranks["lora-2alpha"], ranks["dora-2r"], ranks["minus-off"]) == (32, 32, 32, 32)


@pytest.mark.parametrize("wanted", [1, 100, 1000, 1536, 4096, 10**6])
@pytest.mark.parametrize("name", ["lora", "dora", "d2lora"])
def test_the_nearest_rank_is_the_one_that_trying_them_all_finds(tmp_path: Path, name: str, wanted: int) -> None:
    (method,) = sweep(tmp_path, {"name": name}, budget="none").methods
    tried = {rank: trained_parameters(at_rank(method, rank), SQUARE) for rank in range(1, 65)}
    fit = nearest_ranks(method, SQUARE, wanted)[0]
    assert abs(fit.count - wanted) == min(abs(count - wanted) for count in tried.values())
    assert (tried[fit.rank], fit.off) == (fit.count, (fit.count - wanted) / wanted)


def test_unequal_pairs_keep_their_proportion_and_never_outgrow_a_layer(tmp_path: Path) -> None:
    (method,) = sweep(tmp_path, {"name": "d2lora", "rank": 4, "alpha": 6, "rank_minus": 8}, budget="none").methods
    doubled = at_rank(method, 8).settings
    assert (doubled["rank"], doubled["rank_minus"], doubled["alpha"]) == (8, 16, 12)
    assert at_rank(method, 4) == method
    most = nearest_ranks(method, SQUARE, 10**9)[0]
    assert (most.rank, at_rank(method, most.rank).settings["rank_minus"]) == (32, 64)


def test_equalising_twice_changes_nothing_and_without_a_budget_nothing_changes_at_all(tmp_path: Path) -> None:
    spec = sweep(tmp_path, D2, {"name": "lora", "rank": 4}, controls="matched")
    layers = {"attention": SHAPE.targets(targets_of("attention"))}
    once = equalised(spec.methods, layers)
    assert equalised(once, layers) == once != spec.methods
    free = sweep(tmp_path, D2, {"name": "lora", "rank": 4}, budget="none")
    assert with_equal_parameters(free, layers.__getitem__) is free


def test_a_label_that_tells_a_rank_tells_the_new_one_too(tmp_path: Path) -> None:
    methods = fitted(sweep(tmp_path, D2, {"name": "lora", "rank": 4}, {"name": "lora", "rank": 16, "alpha": 8}))
    assert list(methods) == ["d2lora", "lora(rank=4) at rank 16", "lora(rank=16,alpha=8)"]


# -- runs follow


def test_plan_shows_the_ranks_and_counts_that_the_sweep_will_train(tmp_path: Path) -> None:
    spec = sweep(tmp_path, D2, {"name": "lora", "rank": 4}, {"name": "dora", "rank": 4})
    plan = estimate(spec, SHAPE, "a test")
    assert {one.label: (one.rank, one.trainable_parameters) for one in plan.methods} == {
        label: (method.settings["rank"], counts({label: method})[label]) for label, method in fitted(spec).items()
    }
    unknown = estimate(spec, None, "a test")
    assert [one.rank for one in unknown.methods] == [8, 4, 4]


def test_a_sweep_trains_the_equalised_settings_under_their_own_keys(recipe: Path) -> None:
    words = ["methods=[{name: d2lora, rank: 2, alpha: 4}, {name: lora, rank: 2, alpha: 8}]", "seeds=[0]"]
    words += ["tasks=[tiny_recall]", "tracking.uri=none", "champions=false"]
    code, told, folder = run(recipe, *words, "budget=parameters")
    assert code == 0, told
    rows = rows_of(folder)
    assert [(row["settings"]["rank"], row["settings"]["alpha"]) for row in rows] == [(2, 4.0), (4, 16.0)]
    assert rows[0]["trainable_parameters"] == rows[1]["trainable_parameters"]

    written = read_recipe(
        recipe, [*words, "methods=[{name: d2lora, rank: 2, alpha: 4}, {name: lora, rank: 4, alpha: 16}]"]
    )
    ready = make_ready(written, folder.parent / ".cache", lambda _: None)
    planned = keyed(expand(ready.spec), ready.base.fingerprint, ready.fingerprints)
    assert [row["run_key"] for row in rows] == [run.key for run in planned]


def test_a_sweep_that_cannot_be_equalised_ends_before_anything_starts(recipe: Path) -> None:
    words = ["budget=parameters", "methods=[{name: d2lora, rank: 2, alpha: 4}, dora]"]
    with pytest.raises(InputError, match="'dora' cannot come within 5 %"):
        run(recipe, *words)
    assert not list(recipe.parent.glob("sweeps/small/runs"))


# -- what is refused


def test_what_cannot_be_equalised_is_refused_with_every_count_the_tolerance_and_a_remedy_that_works(
    tmp_path: Path,
) -> None:
    methods = [{"name": "d2lora", "rank": 2, "alpha": 4}, {"name": "lora"}, {"name": "dora"}]
    layers = {"attention": SQUARE}
    with pytest.raises(InputError) as caught:
        equalised(sweep(tmp_path, *methods).methods, layers)
    assert str(caught.value).splitlines() == [
        "budget: parameters: 'dora' cannot come within 5 % of the 1,024 parameters that 'd2lora' trains at rank 2:",
        "  d2lora: 1,024 at rank 2 (+0.0 %)",
        "  lora: 1,024 at rank 4 (+0.0 %), 768 at rank 3 (-25.0 %)",
        "  dora: 1,152 at rank 4 (+12.5 %), 896 at rank 3 (-12.5 %) <- too far",
        "Remedy: give 'd2lora' rank 5, where all come within it, leave out 'dora', or take budget: none.",
    ]
    methods[0] = {"name": "d2lora", "rank": 5, "alpha": 10}
    by_name = equalised(sweep(tmp_path, *methods).methods, layers)
    assert [trained_parameters(method, SQUARE) for method in by_name] == [2560, 2560, 2688]  # 5 % exactly
    equalised(sweep(tmp_path, *methods[:2]).methods, layers)


def test_layers_too_small_for_the_references_parameters_are_told_with_the_most_that_they_take(tmp_path: Path) -> None:
    methods = [{"name": "d2lora", "rank": 16}, {"name": "lora", "targets": "*.k_proj"}]
    with pytest.raises(InputError) as caught:
        fitted(sweep(tmp_path, *methods))
    most = trained_parameters(at_rank(sweep(tmp_path, *methods).methods[1], 48), SHAPE.targets(["*.k_proj"]))
    assert f"  lora: {most:,} at rank 48 (" in str(caught.value)
    assert "Remedy: leave out 'lora', or take budget: none." in str(caught.value)


def test_a_reference_whose_rank_fits_no_layer_is_refused_with_the_layer(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"method 'd2lora', layer .*k_proj: rank=49 is larger than the smaller side"):
        fitted(sweep(tmp_path, {"name": "d2lora", "rank": 49}, "lora"))


def test_methods_that_become_the_same_are_refused_unless_one_is_an_added_control(tmp_path: Path) -> None:
    small, large = {"name": "lora", "rank": 4, "alpha": 8}, {"name": "lora", "rank": 8, "alpha": 16}
    with pytest.raises(InputError) as caught:
        fitted(sweep(tmp_path, D2, small, large))
    assert "makes 'lora(rank=4,alpha=8)' (rank 4) and 'lora(rank=8,alpha=16)' (rank 8) the same" in str(caught.value)
    assert "the same runs, both of rank 16 and alpha 32: leave one out" in str(caught.value)
    named = {"name": "lora", "rank": 2, "alpha": 4, "start": "halves", "label": "mine"}  # the scale of lora-2r
    methods = fitted(sweep(tmp_path, D2, named, controls="matched"))
    assert "mine" in methods
    assert "lora-2r" not in methods


def test_an_unknown_budget_is_refused_with_place_and_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"argument 'budget=paramters': Unknown budget 'paramters'. Did you mean 'para"
    ):
        sweep(tmp_path, D2, budget="paramters")
