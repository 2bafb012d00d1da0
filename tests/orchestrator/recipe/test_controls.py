"""Matched controls: which methods one word adds, that they hold equal what they say, and that none comes twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Generator

import d2lora
from orchestrator.errors import InputError
from orchestrator.plan.runs import expand, keyed
from orchestrator.recipe.controls import controls_of
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.sections import MethodSpec
from orchestrator.recipe.spec import SweepSpec
from tests.helpers.places import ROOT

KINDS = ["lora-2r", "lora-2alpha", "dora-2r", "readd-0", "minus-off", "minus-detached", "projection-off"]
OUT, IN = 24, 16
D2 = {"name": "d2lora", "rank": 3, "alpha": 8.1}


def read(folder: Path, *methods: Any, controls: str = "matched") -> SweepSpec:
    content = {"name": "mine", "tasks": ["boolq"], "methods": list(methods), "seeds": [0], "controls": controls}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return read_recipe(path)


def labels(sweep: SweepSpec) -> list[str]:
    return [method.label for method in sweep.methods]


def by_label(sweep: SweepSpec) -> dict[str, MethodSpec]:
    return {method.label: method for method in sweep.methods}


def config(method: MethodSpec) -> Any:
    return d2lora.get_method(method.name).Config(**method.settings)


def start(method: MethodSpec) -> dict[str, torch.Tensor]:
    weight_OI = torch.randn(OUT, IN, generator=Generator().manual_seed(1))
    return d2lora.get_method(method.name).init(weight_OI, config(method), Generator().manual_seed(5))


# -- what they hold equal


def test_one_word_adds_the_seven_controls_with_a_label_and_what_each_controls(tmp_path: Path) -> None:
    sweep = read(tmp_path, D2)
    assert labels(sweep) == ["d2lora", *KINDS]
    assert [method.control is None for method in sweep.methods] == [True] + [False] * 7


def test_lora_2r_starts_from_the_very_numbers_of_both_pairs_and_has_their_scale(tmp_path: Path) -> None:
    methods = by_label(read(tmp_path, D2))
    lora, pairs = start(methods["lora-2r"]), start(methods["d2lora"])
    assert torch.equal(lora["down"], torch.cat([pairs["down_plus"], pairs["down_minus"]]))
    assert config(methods["lora-2r"]).scale == config(methods["d2lora"]).scale == 8.1 / 3
    assert sum(one.numel() for one in lora.values()) == sum(one.numel() for one in pairs.values())


def test_lora_2r_is_d2lora_without_sign_projection_and_readding(tmp_path: Path) -> None:
    methods = by_label(read(tmp_path, D2))
    weight_OI = torch.randn(OUT, IN, dtype=torch.float64, generator=Generator().manual_seed(1))
    bare = methods["projection-off"]
    pairs = {name: torch.randn_like(one, dtype=torch.float64) for name, one in start(bare).items()}
    lora = {
        "up": torch.cat([pairs["up_plus"], -0.5 * pairs["up_minus"]], 1),
        "down": torch.cat([pairs["down_plus"], pairs["down_minus"]]),
    }
    one, other = methods["lora-2r"], bare
    torch.testing.assert_close(
        d2lora.get_method("lora").effective_weight(weight_OI, lora, config(one)),
        d2lora.get_method("d2lora").effective_weight(weight_OI, pairs, config(other)),
        rtol=0,
        atol=1e-12,  # float64: sums in another order
    )


def test_each_control_differs_from_d2lora_in_what_its_name_says_and_in_nothing_else(tmp_path: Path) -> None:
    given = {**D2, "norm_axis": "in", "norm_grad": "detach", "dropout": 0.1, "targets": "mlp"}
    methods = by_label(read(tmp_path, given))
    settings = methods["d2lora"].settings
    for label, changes in {
        "readd-0": {"readd": 0},
        "minus-off": {"minus": "off"},
        "minus-detached": {"minus": "detach"},
        "projection-off": {"projection": "off", "readd": 0, "norm_axis": "out", "norm_grad": "through"},
    }.items():
        assert methods[label].settings == settings | changes, label
    assert {method.targets for method in methods.values()} == {"mlp"}
    assert {method.settings["dropout"] for method in methods.values()} == {0.1}
    low = {label: (methods[label].settings["rank"], methods[label].settings["alpha"]) for label in KINDS[:3]}
    assert low == {"lora-2r": (6, 16.2), "lora-2alpha": (3, 16.2), "dora-2r": (6, 16.2)}


def test_a_minus_pair_without_gradient_never_acts_so_that_control_trains_what_minus_off_trains(tmp_path: Path) -> None:
    detached = by_label(read(tmp_path, D2))["minus-detached"]
    params = {name: one.requires_grad_() for name, one in start(detached).items()}
    weight_OI = torch.randn(OUT, IN, generator=Generator().manual_seed(2))
    d2lora.get_method("d2lora").effective_weight(weight_OI, params, config(detached)).square().sum().backward()
    assert not params["up_minus"].any()
    assert params["up_minus"].grad is None
    assert params["up_plus"].grad is not None
    assert params["up_plus"].grad.any()


@pytest.mark.parametrize(
    ("settings", "label", "rank", "start"),
    [
        ({"rank_minus": 2}, "lora-rank-5", 5, "halves"),
        ({"rank_minus": 3}, "lora-2r", 6, "halves"),
        ({"rank_minus": 9, "start": "kaiming-kaiming"}, "lora-rank-12", 12, "kaiming"),
        ({"rank_minus": 4, "start": "normal-kaiming"}, "lora-rank-7", 7, "halves"),
        ({"minus": "off"}, "lora-r", 3, "kaiming"),
        ({"minus": "off", "start": "normal-kaiming"}, "lora-r", 3, "normal"),
    ],
)
def test_unequal_and_single_pairs_have_a_lora_of_their_ranks_sum_with_their_scale_and_draws(
    tmp_path: Path, settings: dict[str, Any], label: str, rank: int, start: str
) -> None:
    methods = by_label(read(tmp_path, {**D2, **settings}))
    lora = methods[label]
    assert (lora.settings["rank"], lora.settings["start"]) == (rank, start)
    assert config(lora).scale == pytest.approx(8.1 / 3, rel=1e-15)
    assert ("minus-detached" in methods) == (settings.get("minus") != "off")


@pytest.mark.parametrize(
    "settings", [{"rank_minus": 1}, {"rank_minus": 4}, {"rank_minus": 2, "start": "normal-kaiming"}]
)
def test_a_start_that_lora_cannot_have_is_refused_with_place_numbers_and_remedy(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    with pytest.raises(
        InputError, match=r"recipe.yaml:5: controls: matched cannot give 'd2lora' a LoRA with its start"
    ):
        read(tmp_path, {**D2, **settings})
    assert "lora-2r" in labels(read(tmp_path, {**D2, "rank_minus": 3}))  # the remedy that it names


# -- each once


def test_what_the_recipe_names_already_is_not_added_again(tmp_path: Path) -> None:
    own = [
        {"name": "lora", "rank": 6, "alpha": 16.2, "start": "halves", "label": "twice"},
        {**D2, "minus": "off", "tau": 0.25, "label": "plus only"},  # tau decides nothing there
        {**D2, "readd": 0, "label": "once", "controls": "none"},
    ]
    names = labels(read(tmp_path, {**D2, "label": "d2lora"}, own[0], {**own[1], "controls": "none"}, own[2]))
    assert names == ["d2lora", "twice", "plus only", "once", *(set_of for set_of in KINDS if set_of in names)]
    assert {"lora-2r", "minus-off", "readd-0"}.isdisjoint(names)


def test_a_grid_has_the_controls_of_every_point_and_shares_those_that_are_the_same(tmp_path: Path) -> None:
    sweep = read(tmp_path, {**D2, "rank": [4, 8], "alpha": 8, "tau": [0.5, "learned"]})
    names = labels(sweep)
    assert names[:4] == [f"d2lora(rank={rank},tau={tau})" for rank in (4, 8) for tau in ("0.5", "learned")]
    for kind in ("lora-2r", "lora-2alpha", "dora-2r", "minus-off"):  # tau is not in them
        assert [label for label in names if label.startswith(kind)] == [f"{kind}(rank=4)", f"{kind}(rank=8)"]
    for kind in ("readd-0", "minus-detached", "projection-off"):
        assert len([label for label in names if label.startswith(f"{kind}(rank=")]) == 4
    assert len(names) == len(set(names)) == 4 + 4 * 2 + 3 * 4
    assert len({method.decides() for method in sweep.methods}) == len(names)
    ranks = {label: method.settings["rank"] for label, method in by_label(sweep).items()}
    assert (ranks["lora-2r(rank=4)"], ranks["lora-2r(rank=8)"]) == (8, 16)


def test_an_axis_over_a_controls_own_change_adds_nothing_for_it(tmp_path: Path) -> None:
    names = labels(read(tmp_path, {**D2, "readd": [1, 0]}))
    assert not any(label.startswith("readd-0") for label in names)
    assert {"minus-off(readd=1)", "minus-off(readd=0)", "projection-off", "lora-2r"} <= set(names)


def test_a_method_may_ask_for_its_controls_alone_or_refuse_those_that_all_have(tmp_path: Path) -> None:
    ours, wide = {**D2, "label": "ours"}, {**D2, "targets": "mlp", "label": "wide"}
    one = labels(read(tmp_path, {**ours, "controls": "matched"}, wide, controls="none"))
    assert one == labels(read(tmp_path, ours, {**wide, "controls": "none"})) == ["ours", "wide", *KINDS]
    assert labels(read(tmp_path, ours, wide, controls="none")) == ["ours", "wide"]


def test_controls_of_methods_that_differ_only_in_targets_are_told_apart_by_them(tmp_path: Path) -> None:
    names = labels(read(tmp_path, {**D2, "targets": ["attention", "mlp"]}))
    assert {f"lora-2r(targets={targets})" for targets in ("attention", "mlp")} <= set(names)


def test_the_recipe_of_the_ablation_names_the_runs_that_it_named_when_every_control_was_written_out() -> None:
    sweep = read_recipe(ROOT / "recipes" / "ablation.yaml")
    d2 = {"name": "d2lora", "rank": 4, "alpha": 8}
    written = [
        {**d2, "readd": 0}, {**d2, "minus": "off"}, {**d2, "minus": "detach"}, {**d2, "projection": "off", "readd": 0},
        {"name": "lora", "rank": 8, "alpha": 16, "start": "halves"}, {"name": "lora", "rank": 4, "alpha": 16},
        {"name": "dora", "rank": 8, "alpha": 16}, d2,
    ]  # fmt: skip
    words = [yaml.safe_dump(written, default_flow_style=True, width=10**6).strip()]
    before = read_recipe(ROOT / "recipes" / "ablation.yaml", [f"methods={words[0]}"])
    data = {task.name: "data" for task in sweep.tasks}
    keys = {run.key for run in keyed(expand(sweep), "base", data)}
    assert {run.key for run in keyed(expand(before), "base", data)} < keys
    assert len(keys) == 360


# -- what is refused


@pytest.mark.parametrize(
    ("methods", "controls", "wanted"),
    [
        (["d2lora"], "mached", ":5: Unknown controls 'mached'. Did you mean 'matched'? Known: matched, none."),
        (["d2lora"], ["matched"], ":5: Unknown controls "),
        (["lora"], "matched", ":5: controls: matched adds nothing, for no method is d2lora"),
        ([{"name": "lora", "controls": "matched"}], "none", ":4: only d2lora has controls, not lora."),
        ([{"name": "d2lora", "controls": "mathed"}], "none", ":4: Unknown controls 'mathed'. Did you mean 'matched'?"),
        ([{"name": "d2lora", "controls": ["none", "matched"]}], "none", "controls of method d2lora is a word"),
        (["d2lora", {"name": "dora", "label": "lora-2r"}], "matched", "two entries are called 'lora-2r': give one a"),
    ],
)
def test_what_makes_no_sense_is_refused_with_line_key_and_nearest_name(
    tmp_path: Path, methods: list[Any], controls: Any, wanted: str
) -> None:
    lines = [
        "name: mine",
        "tasks: [boolq]",
        "seeds: [0]",
        f"methods: {yaml.safe_dump(methods, default_flow_style=True)}",
    ]
    path = tmp_path / "recipe.yaml"
    path.write_text("\n".join(line.strip() for line in lines) + f"\ncontrols: {controls}\n")
    with pytest.raises(InputError) as caught:
        read_recipe(path)
    assert wanted in str(caught.value)
    assert str(path) in str(caught.value)


def test_controls_are_pure_and_leave_their_method_as_it_was(tmp_path: Path) -> None:
    (method,) = read(tmp_path, D2, controls="none").methods
    before = method.model_dump_json()
    assert controls_of(method) == controls_of(method)
    assert method.model_dump_json() == before
