"""The recipes of a night's own sweeps: what is fixed on every night, what belongs to one night, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import InputError
from orchestrator.nightly.canary import (
    canary_of,
    confirm_of,
    confirm_seeds,
    fresh_of,
    fresh_seeds,
    settings_digest,
)
from orchestrator.plan.runs import expand, keyed
from orchestrator.recipe.frozen import with_values
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.nights_folder import NightFolder
from orchestrator.store.sweep_folder import SweepFolder

TEXT = """
name: sweep
tasks: [boolq, arc_easy, openbookqa]
methods: [{name: d2lora, rank: 4}, {name: lora, rank: 8}, dora]
seeds: [0, 1, 2]
optim: {lr: [3.0e-4, 1.0e-4]}
search: {kind: racing, first: 2}
nightly: {canary: {tasks: 2, methods: [lora, d2lora], seeds: 2, fresh: 3}}
"""


@pytest.fixture
def spec(tmp_path: Path) -> SweepSpec:
    (tmp_path / "r.yaml").write_text(TEXT + f"storage: {tmp_path}/sweeps\n")
    return read_recipe(tmp_path / "r.yaml")


def night(spec: SweepSpec, name: str = "2026-11-28") -> NightFolder:
    return NightFolder(SweepFolder.of(spec).path / "nights" / name)


def keys(spec: SweepSpec) -> dict[tuple[str, str, int], str]:
    data = {task.name: task.name for task in spec.tasks}
    return {
        (run.spec.task.name, run.spec.method.label, run.spec.seed): run.key for run in keyed(expand(spec), "base", data)
    }


def test_the_canary_is_the_cut_that_the_recipe_asks_for_at_the_first_rate_as_a_grid(spec: SweepSpec) -> None:
    canary = canary_of(spec, night(spec))
    assert [task.name for task in canary.tasks] == ["boolq", "arc_easy"]
    assert [method.label for method in canary.methods] == ["d2lora", "lora"]  # in the recipe's order
    assert (canary.seeds, canary.optim.rates, canary.search.kind) == ([0, 1], [3e-4], "grid")
    assert (canary.champions, canary.tracking.uri, canary.cluster.pack) == (False, "none", 1)
    assert SweepFolder.of(canary).path == night(spec).canary.path
    assert SweepSpec.model_validate(canary.model_dump()) == canary  # a copy is not validated, so validate it here


def test_the_night_is_in_every_key_of_its_own_sweeps_and_nothing_else_differs_between_nights(spec: SweepSpec) -> None:
    first, second = (keys(canary_of(spec, night(spec, name))) for name in ("2026-11-27", "2026-11-28"))
    assert first.keys() == second.keys()
    assert set(first.values()).isdisjoint(second.values())
    assert set(first.values()).isdisjoint(keys(spec).values())
    assert keys(canary_of(spec, night(spec, "2026-11-27"))) == first


def test_seeds_of_one_night_follow_from_its_name_and_are_no_others_seeds(spec: SweepSpec) -> None:
    fresh, confirm = fresh_seeds(spec, "2026-11-28"), confirm_seeds(spec, "2026-11-28")
    assert fresh == fresh_seeds(spec, "2026-11-28")
    assert (len(set(fresh)), len(set(confirm))) == (3, 5)
    assert not {*fresh} & {*confirm}
    assert not {*fresh, *confirm} & {*fresh_seeds(spec, "2026-11-29"), *confirm_seeds(spec, "2026-11-29")}
    assert all(0 <= seed < 2**31 for seed in [*fresh, *confirm])


def test_a_seed_that_the_recipe_has_is_never_a_fresh_one(spec: SweepSpec) -> None:
    taken = fresh_seeds(spec, "2026-11-28")[0]
    with_it = with_values(spec, {"seeds": [0, 1, 2, taken]})
    assert taken not in fresh_seeds(with_it, "2026-11-28")
    assert len(fresh_seeds(with_it, "2026-11-28")) == 3


def test_a_recipe_without_fresh_seeds_has_no_sweep_of_them(spec: SweepSpec) -> None:
    assert fresh_of(with_values(spec, {"nightly.canary.fresh": 0}), night(spec)) is None
    fresh = fresh_of(spec, night(spec))
    assert fresh is not None
    assert fresh.seeds == fresh_seeds(spec, "2026-11-28")


def test_a_confirmation_trains_the_suspected_cells_alone(spec: SweepSpec) -> None:
    confirm = confirm_of(spec, night(spec), [("arc_easy", "lora")])
    assert ([task.name for task in confirm.tasks], [method.label for method in confirm.methods]) == (
        ["arc_easy"],
        ["lora"],
    )
    assert confirm.seeds == confirm_seeds(spec, "2026-11-28")


@pytest.mark.parametrize(
    "change",
    [{"optim.epochs": 3.0}, {"optim.lr": [1e-4, 3e-4]}, {"nightly.canary.seeds": 1}, {"nightly.canary.methods": 1}],
)
def test_what_decides_the_bits_of_the_canary_is_in_the_digest_of_its_settings(
    spec: SweepSpec, change: dict[str, Any]
) -> None:
    assert settings_digest(with_values(spec, change)) != settings_digest(spec)


@pytest.mark.parametrize(
    "change",
    [
        {"storage": "elsewhere"},
        {"nightly.canary.fresh": 5},
        {"nightly.confirm_seeds": 7},
        {"optim.lr": [3e-4, 2e-4]},
        {"cluster.pack": 3},
        {"champions": False},
    ],
)
def test_what_decides_no_bits_is_not_in_it(spec: SweepSpec, change: dict[str, Any]) -> None:
    assert settings_digest(with_values(spec, change)) == settings_digest(spec)


def test_on_gpus_the_canary_sums_in_a_fixed_order(spec: SweepSpec) -> None:
    assert not canary_of(spec, night(spec)).engine.deterministic
    assert canary_of(with_values(spec, {"cluster.gpus_per_worker": 1}), night(spec)).engine.deterministic


def test_pairs_of_seeds_have_no_canary(spec: SweepSpec) -> None:
    pairs = with_values(spec, {"seeds": {"init": [0, 1], "data": [0, 1]}, "search": {"kind": "grid"}})
    with pytest.raises(InputError, match=r"pairs of two axes share them. List seeds, for example seeds: \[0, 1, 2\]"):
        canary_of(pairs, night(spec))
