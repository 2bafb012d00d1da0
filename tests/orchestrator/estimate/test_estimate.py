"""Estimates by hand, and against what the product really does where that can be counted."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

import d2lora
from orchestrator.data.splits import split_examples
from orchestrator.data.tasks import available_tasks, make_task
from orchestrator.errors import InputError
from orchestrator.estimate.costs import START_SECONDS, Costs
from orchestrator.estimate.estimate import Estimate, as_json, estimate
from orchestrator.estimate.memory import MemoryModel
from orchestrator.estimate.model_shapes import PUBLISHED, ModelShape, shape_of
from orchestrator.estimate.power import EFFECTS, smallest_difference
from orchestrator.estimate.simulate import Fleet
from orchestrator.estimate.task_sizes import SIZES, rows_of
from orchestrator.estimate.terms import Terms
from orchestrator.prices.table import Price
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.sections import DataSpec, TaskSpec
from orchestrator.recipe.spec import SweepSpec
from orchestrator.recipe.targets import targets_of
from orchestrator.statistics.power import smallest_detectable_difference
from tests.helpers.places import ROOT

RECIPES = ROOT / "recipes"
SHAPE = ModelShape(32, 64, 2, 4, 2, 8, 100, tied=True)
METHODS = [
    ("d2lora", {"rank": 3, "rank_minus": 2, "tau": "learned"}),
    ("d2lora", {"rank": 3, "minus": "off"}),
    ("lora", {"rank": 5}),
    ("dora", {"rank": 5}),
]


def sweep(**changes: Any) -> SweepSpec:
    """Return a sweep of 2 tasks x 2 methods x 2 rates x 3 seeds with a few values changed."""
    lora = {"name": "lora", "settings": {"rank": 4, "alpha": 8.0}, "label": "lora", "targets": "attention"}
    values: dict[str, Any] = {
        "name": "hand",
        "tasks": [{"name": "tiny_above"}, {"name": "tiny_recall"}],
        "methods": [lora, {**lora, "label": "wide", "targets": "attention+mlp"}],
        "seeds": [0, 1, 2],
        "data": {"train_samples": 64, "eval_samples": 100, "validation_samples": 20, "max_length": 40},
        "optim": {"lr": [1e-3, 1e-2], "epochs": 2, "micro_batch": 8, "global_batch": 16},
        "cluster": {"kind": "local", "pack": 4},
    }
    return SweepSpec.model_validate({**values, **changes})


def planned(**changes: Any) -> Estimate:
    return estimate(sweep(**changes), SHAPE, "a test")


def test_runs_and_packs_are_counted() -> None:
    plan = planned()
    assert (plan.runs, plan.rates, plan.seeds) == (24, 2, 3)
    assert (plan.packs, plan.largest_pack) == (8, 3)
    assert [task.steps for task in plan.tasks] == [8, 8]


@pytest.mark.parametrize(("name", "settings"), METHODS)
@pytest.mark.parametrize("targets", ["attention", "attention+mlp", "*.q_proj,*.down_proj"])
def test_trained_parameters_are_those_that_attach_makes(name: str, settings: dict[str, Any], targets: str) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config)
    d2lora.attach(model, name, d2lora.get_method(name).Config(**settings), targets=targets_of(targets), seeds=[0])
    counted = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    method = {"name": name, "settings": settings, "label": "one", "targets": targets}
    assert planned(methods=[method]).methods[0].trainable_parameters == counted


def test_a_rank_or_a_target_that_does_not_fit_is_refused_with_the_layer() -> None:
    method = {"name": "lora", "settings": {"rank": 17}, "label": "big", "targets": "attention"}
    with pytest.raises(InputError, match=r"method 'big', layer model.layers.0.self_attn.k_proj: rank=17 is larger"):
        planned(methods=[method])
    with pytest.raises(InputError, match="'query' matches no linear layer"):
        planned(methods=[{**method, "targets": "query"}])


def test_work_is_four_operations_a_base_parameter_and_token_and_six_a_trained_one() -> None:
    plan = planned(tasks=[{"name": "tiny_above"}], seeds=[0], optim={"lr": 1e-3, "epochs": 2, "global_batch": 8})
    assert plan.work is not None
    trained = [method.trainable_parameters or 0 for method in plan.methods]
    rows, questions = 2 * 64, 20 + 100
    assert plan.work.train_tokens == 2 * rows * 11  # two methods, prompts of 10 tokens with one for the answer
    assert plan.work.score_tokens == 2 * questions * 12  # the two choices share the prompt
    body = sum(rows * 11 * (4 * SHAPE.body + 6 * one) + questions * 12 * 2 * (SHAPE.body + one) for one in trained)
    head = 2 * (4 * rows + 2 * 2 * questions) * SHAPE.head
    assert plan.work.operations == body + head


def test_full_rows_bound_the_usual_ones_and_max_length_bounds_both() -> None:
    plan = planned()
    assert plan.work is not None
    assert plan.work_at_most is not None
    assert plan.work_at_most.train_tokens == 24 * 2 * 64 * 40
    assert plan.work.train_tokens < plan.work_at_most.train_tokens
    short = planned(data={"train_samples": 64, "max_length": 8})
    assert short.work is not None
    assert short.work_at_most is not None
    assert short.work.train_tokens == short.work_at_most.train_tokens == 24 * 2 * 64 * 8


def test_recomputing_activations_costs_arithmetic_and_saves_memory() -> None:
    deep = replace(SHAPE, layers=8)
    plain, again = (estimate(sweep(engine={"gradient_checkpointing": on}), deep, "a test") for on in (False, True))
    assert plain.work is not None
    assert again.work is not None
    assert plain.memory is not None
    assert again.memory is not None
    assert 1.2 < again.work.operations / plain.work.operations < 1.5
    assert again.memory.activations < plain.memory.activations


def test_time_is_arithmetic_at_the_rate_and_trainers_share_it() -> None:
    spec = sweep(cluster={"kind": "ray", "max_concurrent": 3, "pack": 4, "workers": 2})
    plan = estimate(spec, SHAPE, "a test", tflops=1e-6, price=2.0)
    assert plan.work is not None
    assert plan.duration is not None
    arithmetic = plan.work.operations / 1e6
    assert plan.trainers == 3
    assert plan.duration.worker_hours * 3600 == pytest.approx(arithmetic + 2 * 3 * START_SECONDS)
    assert plan.duration.hours >= plan.duration.worker_hours / (2 * 3)
    assert plan.duration.cost == pytest.approx(2 * plan.duration.worker_hours)


def test_rates_are_assumed_by_device_and_said_to_be() -> None:
    cpu, gpu = planned().rate, planned(cluster={"gpus_per_worker": 1}).rate
    assert (cpu.given, gpu.given) == (False, False)
    assert gpu.tflops > 100 * cpu.tflops
    assert estimate(sweep(), SHAPE, "a test", tflops=7.0).rate.given


def test_rivals_at_rungs_are_planned_into_one_pack_as_they_are_trained() -> None:
    rates, own = [1e-4, 1e-3, 1e-2], {"kind": "local", "pack": 4}
    optim = {"lr": rates, "epochs": 2, "micro_batch": 8, "global_batch": 16}
    lora = [{"name": "lora", "settings": {"rank": 4, "alpha": 8.0}, "label": "lora", "targets": "attention"}]
    grid, rungs = (
        planned(optim=optim, methods=lora, seeds=[0, 1, 2, 3], cluster=own, search={"kind": kind})
        for kind in ("grid", "asha")
    )
    assert (grid.packs, grid.largest_pack) == (6, 4)  # 2 tasks x 3 rates x 4 seeds, four to a pack
    assert (rungs.packs, rungs.largest_pack) == (8, 3)  # the three rates of a task and a seed


def test_an_unknown_shape_still_gives_runs_and_packs() -> None:
    plan = estimate(sweep(), None, "unknown")
    assert (plan.runs, plan.packs) == (24, 8)
    assert (plan.memory, plan.work, plan.duration) == (None, None, None)
    assert [method.trainable_parameters for method in plan.methods] == [None, None]
    assert as_json(plan)["parameters"] is None


def test_the_table_of_effects_is_what_scipy_computes() -> None:
    for seeds in range(2, len(EFFECTS) + 4):
        expected = smallest_detectable_difference(seeds, 0.02)
        assert smallest_difference(seeds, 0.02) == pytest.approx(expected, rel=1e-6), seeds


def test_one_seed_detects_nothing() -> None:
    assert [one.difference for one in planned(seeds=[0]).detectable] == [None, None]
    assert [one.difference for one in planned().detectable] == pytest.approx([0.0326404, 0.0652809], abs=1e-7)


def test_every_task_has_its_size() -> None:
    assert sorted(SIZES) == available_tasks()


@pytest.mark.parametrize("task", ["tiny_above", "tiny_older", "tiny_recall"])
@pytest.mark.parametrize(
    "data",
    [{}, {"train_samples": 64}, {"train_samples": None, "validation_samples": 100}, {"eval_samples": 10}],
    ids=str,
)
def test_rows_are_those_that_splitting_gives(task: str, data: dict[str, Any]) -> None:
    spec = DataSpec.model_validate(data)
    rows = rows_of(TaskSpec(name=task), spec)
    splits = split_examples(
        make_task(task),
        train_samples=spec.train_samples,
        validation_samples=spec.validation_samples,
        eval_samples=spec.eval_samples,
    )
    assert (rows.train, rows.validation, rows.test) == (len(splits.train), len(splits.validation), len(splits.test))
    assert rows.choices == len(splits.test[0].choices)


@pytest.mark.parametrize("change", [{"path": "mine.jsonl"}, {"train": "validation[:800]"}])
def test_rows_of_other_files_and_splits_are_assumed_and_marked(change: dict[str, str]) -> None:
    name = "mine" if "path" in change else "commonsense_qa"
    rows = rows_of(TaskSpec(name=name, **change), DataSpec(train_samples=9000, eval_samples=300))  # type: ignore[arg-type]
    assert not rows.known
    assert (rows.train, rows.test) == (9000, 300)


def test_published_numbers_of_the_paper_recipe() -> None:
    spec = read_recipe(RECIPES / "paper.yaml")
    plan = estimate(spec, *shape_of(spec.model))
    assert plan.shape == PUBLISHED["meta-llama/Llama-3.2-3B-Instruct"]
    assert plan.runs == 640
    trained = {method.label: method.trainable_parameters for method in plan.methods}
    # 28 layers of q (3072 x 3072), k and v (1024 x 3072) and o: 2 * 6144 + 2 * 4096 a rank.
    assert trained["lora-r"] == 28 * 16 * (2 * 6144 + 2 * 4096)
    assert trained["lora-2r"] == trained["d2lora"] == 2 * trained["lora-r"]


def test_a_hundred_thousand_runs_are_planned_within_seconds() -> None:
    spec = sweep(seeds=list(range(12_500)))
    start = time.process_time()
    assert planned(seeds=spec.seeds).runs == 100_000
    assert time.process_time() - start < 10  # about 2 on an idle machine


def test_ten_thousand_runs_cost_as_many_formulas_as_there_are_kinds_of_packs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: Counter[str] = Counter()

    def counting(owner: type, name: str) -> None:
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *words, **keys: (counted.update([name]), real(*words, **keys))[1])

    counting(MemoryModel, "of")
    counting(Costs, "_run")
    counting(Costs, "total")
    spec = sweep(seeds=list(range(1_250)))
    plan = estimate(spec, SHAPE, "a test", terms=Terms(fleet=Fleet(8, 8), price=Price(usd=1.0), budget_usd=1.0))
    assert (plan.runs, plan.packs) == (10_000, 2_500)
    assert plan.simulation is not None
    assert counted == {"of": 4, "_run": 8, "total": 2}  # two tasks and two methods; usual and full rows
