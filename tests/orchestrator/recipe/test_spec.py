"""Specs: what a run's key depends on, and how a spec is changed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.errors import InputError
from orchestrator.plan import runs
from orchestrator.plan.runs import RunSpec, expand
from orchestrator.recipe.frozen import with_values
from orchestrator.recipe.search import Asha, Grid, Racing, Search, Tpe
from orchestrator.recipe.sections import MethodSpec, OptimSpec, TaskSpec
from orchestrator.recipe.spec import SweepSpec
from orchestrator.recipe.targets import targets_of

LORA = MethodSpec(name="lora", settings={"rank": 8, "alpha": 16.0}, label="lora", targets="attention")

DORA = LORA.model_copy(update={"name": "dora", "label": "dora"})


def sweep(**changes: Any) -> SweepSpec:
    content = {"name": "mine", "tasks": [TaskSpec(name="boolq")], "methods": [LORA], "seeds": [0], **changes}
    return SweepSpec(**content)


def run(**changes: Any) -> RunSpec:
    return expand(sweep(**changes))[0]


def key(spec: RunSpec) -> str:
    return spec.key("base", "data")


DECIDES: dict[str, Any] = {
    "task.name": "race",
    "method.name": "dora",
    "method.settings": {"rank": 8, "alpha": 32.0},
    "method.targets": "mlp",
    "seed": 1,
    "model.dtype": "bfloat16",
    "optim.lr": 3e-4,
    "optim.epochs": 3.0,
    "optim.global_batch": 64,
    "optim.warmup": 0.1,
    "optim.schedule": "linear",
    "optim.clip": None,
    "optim.weight_decay": 0.1,
    "optim.betas": [0.9, 0.95],
    "optim.eps": 1e-6,
}
DOES_NOT: dict[str, Any] = {
    "method.label": "control",
    "optim.micro_batch": 4,
    "task.path": "rows.jsonl",
    "task.question": "q",
    "model.path": "/models/mine",
    "model.name": "tiny",
    "data.mirror": "/rows",
}


@pytest.mark.parametrize("dotted", DECIDES)
def test_a_key_changes_with_all_that_decides_the_result(dotted: str) -> None:
    assert key(with_values(run(), {dotted: DECIDES[dotted]})) != key(run())


@pytest.mark.parametrize("dotted", DOES_NOT)
def test_a_key_does_not_change_with_places_labels_and_micro_batches(dotted: str) -> None:
    assert key(with_values(run(), {dotted: DOES_NOT[dotted]})) == key(run())


def test_every_value_of_the_optimiser_is_known_to_decide_or_not() -> None:
    told = {name.removeprefix("optim.") for name in {**DECIDES, **DOES_NOT} if name.startswith("optim.")}
    assert told == {*OptimSpec.model_fields}


def test_a_key_changes_with_the_content_of_base_and_data() -> None:
    assert len({run().key("base", "data"), run().key("other", "data"), run().key("base", "other")}) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": {"kind": "plain", "stage": 0, "gradient_checkpointing": True, "deterministic": True}},
        {"cluster": {"kind": "local", "workers": 4, "pack": 1, "retries": 3, "max_concurrent": 2}},
        {"tracking": {"uri": "none", "experiment": "other"}},
        {"storage": "/elsewhere"},
        {"champions": False},
        {
            "search": {"kind": "racing", "alpha": 0.1, "first": 2, "resolve": 1.0},
            "seeds": [0, 1, 2],
            "methods": [LORA, DORA],
        },
        {"search": {"kind": "tpe", "trials": 2, "batch": 1, "seed": 3}, "methods": [LORA, DORA]},
        {"name": "other"},
    ],
)
def test_a_key_does_not_change_with_where_and_how_it_is_trained(changes: dict[str, Any]) -> None:
    one = SweepSpec.model_validate({**sweep().model_dump(), **changes})
    assert key(expand(one)[0]) == key(run())


def test_a_key_is_sixteen_hexadecimal_digits_and_changes_with_the_format_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert key(run()) == "5a7ab1ef5ab9ff0e"
    monkeypatch.setattr(runs, "FORMAT", 1)
    assert key(run()) == "d0887698040966c2"  # as the first versions had it


def test_writing_a_default_out_changes_no_key() -> None:
    written = OptimSpec.model_validate_json(OptimSpec().model_dump_json())
    whole = OptimSpec.model_validate_json('{"epochs": 2, "clip": 1, "weight_decay": 0, "betas": [0.9, 0.999]}')
    assert key(run(optim=written)) == key(run(optim=whole)) == key(run())


def test_a_set_of_targets_and_the_list_that_it_means_have_one_key() -> None:
    spelled = ",".join(targets_of("attention+mlp"))
    pair = [run(methods=[LORA.model_copy(update={"targets": text})]) for text in ("attention+mlp", spelled)]
    assert key(pair[0]) == key(pair[1]) != key(run())
    assert targets_of(" mlp , *.lm_head") == ["*.gate_proj", "*.up_proj", "*.down_proj", "*.lm_head"]


def test_a_method_builds_its_config_and_patterns_once_and_a_copy_builds_its_own() -> None:
    assert LORA.config is LORA.config
    assert (LORA.config.rank, LORA.patterns) == (LORA.settings["rank"], tuple(targets_of(LORA.targets)))
    wider = LORA.model_copy(update={"settings": LORA.settings | {"rank": 5}, "targets": "mlp"})
    assert (wider.config.rank, wider.patterns) == (5, tuple(targets_of("mlp")))
    assert wider.config is not LORA.config
    assert LORA.model_copy() == LORA == MethodSpec(**LORA.model_dump())
    assert "config" not in LORA.model_dump()


def test_a_changed_copy_leaves_the_original_and_reaches_what_trains() -> None:
    one = run()
    other = with_values(one, {"optim.lr": 3e-4, "seed": 5})
    assert (other.lr, other.optim.lr, other.seed) == (3e-4, 3e-4, 5)
    assert (one.lr, one.seed) == (2e-4, 0)


def test_a_run_has_one_learning_rate() -> None:
    with pytest.raises(ValueError, match="too many values"):
        _ = with_values(run(), {"optim.lr": [1e-4, 2e-4]}).lr


@pytest.mark.parametrize(
    ("dotted", "near"), [("optim.lrr", "optim.lr"), ("sed", "seed"), ("optm.lr", "optim.lr"), ("seed.x", "seed")]
)
def test_a_typo_in_a_change_is_refused_with_the_nearest_name(dotted: str, near: str) -> None:
    with pytest.raises(InputError, match=f"Unknown value '{dotted}'. Did you mean '{near}'?"):
        with_values(run(), {dotted: 1})


def test_a_changed_copy_is_checked_like_a_new_one() -> None:
    with pytest.raises(ValidationError, match="less than 1"):
        with_values(run(), {"optim.lr": 2.0})
    with pytest.raises(ValidationError, match=r"global_batch=32 is not a multiple .* 3 \* 8 = 24"):
        with_values(sweep(), {"cluster.workers": 3})


def test_a_spec_cannot_be_changed_in_place_and_takes_no_unknown_key() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        run().seed = 3
    with pytest.raises(ValidationError, match="Extra inputs"):
        OptimSpec.model_validate({"lrr": 1e-4})


def test_a_run_survives_json() -> None:
    assert RunSpec.model_validate_json(run().model_dump_json()) == run()


@pytest.mark.parametrize("search", [Grid(), Racing(first=2), Tpe(trials=2), Asha(rung=6)])
def test_a_search_of_any_kind_survives_json_with_the_keys_of_its_kind_alone(search: Search) -> None:
    one = sweep(search=search, methods=[LORA, DORA], seeds=[0, 1, 2])
    assert SweepSpec.model_validate_json(one.model_dump_json()).search == search
    assert one.model_dump()["search"].keys() == type(search).model_fields.keys()


def test_the_experiment_is_called_like_the_sweep_unless_it_has_a_name() -> None:
    named = with_values(sweep(), {"tracking.experiment": "all"})
    assert (sweep().experiment, named.experiment) == ("mine", "all")


@pytest.mark.parametrize(
    ("engine", "workers", "kind"),
    [
        ({}, 1, "plain"),
        ({}, 4, "zero"),
        ({"stage": 3}, 1, "zero"),  # who names a stage of ZeRO means it
        ({"kind": "zero"}, 1, "zero"),
        ({"kind": "plain"}, 1, "plain"),
    ],
)
def test_the_engine_is_plain_for_one_worker_and_zero_for_several_unless_said(
    engine: dict[str, Any], workers: int, kind: str
) -> None:
    one = SweepSpec.model_validate(sweep().model_dump() | {"engine": engine, "cluster": {"workers": workers}})
    assert one.trained_by.kind == kind
    assert with_values(one, {"name": "other"}).trained_by == one.trained_by


def test_a_worker_has_one_gpu_at_most_and_the_remedy_is_taken() -> None:
    with pytest.raises(ValidationError, match=r"2 is too many.* gpus_per_worker: 1 and workers: 2"):
        with_values(sweep(), {"cluster.gpus_per_worker": 2})
    assert with_values(sweep(), {"cluster.gpus_per_worker": 1, "cluster.workers": 2}).trained_by.kind == "zero"


@pytest.mark.parametrize("dtype", ["float16", "fp16", "half", "torch.float16"])
def test_float16_is_refused_with_the_types_that_take_its_place(dtype: str) -> None:
    with pytest.raises(ValidationError, match=r"trained in bfloat16 \(dtype: bfloat16.*dtype: float32"):
        with_values(sweep(), {"model.dtype": dtype})
    for other in ("bfloat16", "float32"):
        assert with_values(sweep(), {"model.dtype": other}).dtype == other
