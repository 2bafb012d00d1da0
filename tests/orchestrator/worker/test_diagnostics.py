"""Diagnoses of finished lanes: what a lane gets alone, at no cost to its training, its neighbours or its run."""

from __future__ import annotations

import math

import pytest
import torch

import d2lora
from d2lora.attachment import adapted_layers
from d2lora.diagnosis.spectra import Bounds
from orchestrator.data.tokens import Item
from orchestrator.model.answer_model import AnswerModel
from orchestrator.model.token_batch import batch_rows
from orchestrator.train.engine.plain import PlainEngine
from orchestrator.worker import diagnostics
from orchestrator.worker.diagnostics import Diagnoses, first_rows
from tests.d2lora.layers.test_adapted import shake
from tests.helpers.models.tiny_llama import TARGETS, tiny_llama
from tests.orchestrator.train.test_loop import DATA, LANES, OPTIM, lane, train

ALL = {
    "norm_drift_mean", "norm_drift_max", "effective_rank", "stable_rank", "update_effective_rank", "intruders",
    "intruders_repaired", "radial_share", "tangential_share", "merge_gap", "seconds",
}  # fmt: skip
ITEMS = {index: DATA[task] for index, (_, task, _) in enumerate(LANES)}


@pytest.fixture(scope="module")
def trained() -> PlainEngine:
    return train(list(range(len(LANES))))[0]


def but_seconds(diagnosis: dict[str, float | str]) -> dict[str, float | str]:
    return {name: value for name, value in diagnosis.items() if name != "seconds"}


@pytest.mark.parametrize("tokens", ["auto", 1], ids=["one pass", "a pass for each lane"])
def test_every_lane_has_every_number_and_they_are_those_it_has_alone(trained: PlainEngine, tokens: str | int) -> None:
    diagnoses = Diagnoses(trained, tokens).of(ITEMS)
    for index in range(len(LANES)):
        assert diagnoses[index].keys() == ALL
        assert all(math.isfinite(value) for value in diagnoses[index].values())
        assert diagnoses[index]["merge_gap"] < 1e-12
        model = tiny_llama().double()
        d2lora.attach_lanes(model, [LANES[index][0]], TARGETS)
        d2lora.load_adapter_state(model, d2lora.adapter_state(trained.model, index))
        alone = Diagnoses(PlainEngine(model, 1, OPTIM, torch.device("cpu"))).of({0: ITEMS[index]})[0]
        assert but_seconds(alone) == pytest.approx(but_seconds(diagnoses[index]), rel=1e-8, abs=1e-12)


def test_the_projection_shows_in_the_numbers(trained: PlainEngine) -> None:
    diagnoses = Diagnoses(trained).of(ITEMS)
    projected, plain = diagnoses[4], diagnoses[2]  # D2-LoRA without readd, its norms with gradient; LoRA
    assert projected["norm_drift_max"] < 1e-12
    assert projected["radial_share"] < 1e-24
    assert plain["norm_drift_max"] > 1e-4
    assert plain["radial_share"] > 1e-4
    assert plain["effective_rank"] <= 5


def test_the_gradient_is_that_of_the_first_rows_by_the_merged_weights(trained: PlainEngine) -> None:
    """Against a plain model whose weights are leaves: the shares of LoRA, for which V is the weight that acts."""
    from torch.nn.functional import cross_entropy

    merged = d2lora.merge(trained.model, 2).eval()
    names = list(adapted_layers(trained.model))
    shares = []
    weights = [merged.get_submodule(name).weight for name in (names[0], names[-1])]
    for weight in weights:
        weight.requires_grad_()
    loss = torch.zeros((), dtype=torch.float64)
    for ids, start in first_rows(ITEMS[2]):
        logits_TV = merged(input_ids=torch.tensor([ids])).logits[0, start - 1 : -1]
        loss = loss + cross_entropy(logits_TV, torch.tensor(ids[start:]), reduction="sum")
    for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        along = (weight.detach() * slope).sum(1) / weight.detach().norm(dim=1)
        shares.append(float(along.square().sum() / slope.square().sum()))
    diagnosis = Diagnoses(trained).of({2: ITEMS[2]})[2]
    assert diagnosis["radial_share"] == pytest.approx(sum(shares) / 2, rel=1e-8)


def test_the_merge_gap_is_the_largest_difference_of_logits_from_the_merged_model() -> None:
    """In bfloat16, where merging rounds an update to what the base's weights can hold."""
    model = tiny_llama().bfloat16()
    d2lora.attach_lanes(model, [LANES[0][0], LANES[2][0]], TARGETS)
    shake(model)
    engine = PlainEngine(model, 2, OPTIM, torch.device("cpu"))
    diagnoses = Diagnoses(engine).of({0: ITEMS[0], 1: ITEMS[2]})
    for index in range(2):
        packed = batch_rows(first_rows(ITEMS[(0, 2)[index]]))
        model.eval()
        with torch.no_grad(), d2lora.lane_rows(model, [len(packed.ids_BT) * (index == other) for other in range(2)]):
            acting = engine.logits(packed)
            merged = AnswerModel(d2lora.merge(model, index).eval())(*packed.inputs(engine.device))
        # lanes of a pack share one batch, padded to the longest row of all
        assert diagnoses[index]["merge_gap"] == pytest.approx(float((acting - merged).abs().max()), rel=1e-3)
        assert diagnoses[index]["merge_gap"] > 1e-3


def test_nothing_of_the_training_is_touched(trained: PlainEngine) -> None:
    model = trained.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    drawn = torch.get_rng_state()
    Diagnoses(trained).of(ITEMS)
    assert model.training
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is gradient is None or torch.equal(parameter.grad, gradient)
    assert not any(module._forward_hooks for module in model.modules())
    current = next(iter(adapted_layers(model).values())).batch_rows
    assert (current.counts, current.held) == (None, None)


def test_dropout_does_not_act_in_a_diagnosis(trained: PlainEngine) -> None:
    state, diagnoses = d2lora.adapter_state(trained.model, 0), []
    for rate in (0.0, 0.5):
        model = tiny_llama().double()
        d2lora.attach_lanes(model, [lane("d2lora", 0, dropout=rate)], TARGETS)
        d2lora.load_adapter_state(model, state)
        model.train()
        diagnoses.append(but_seconds(Diagnoses(PlainEngine(model, 1, OPTIM, torch.device("cpu"))).of({0: ITEMS[0]})[0]))
    assert diagnoses[0] == diagnoses[1]


def test_a_base_that_is_scattered_is_said_and_no_pass_is_begun(trained: PlainEngine, monkeypatch) -> None:
    monkeypatch.setattr(trained, "scatters", True)
    monkeypatch.setattr(trained, "logits", None)  # calling it would fail
    diagnoses = Diagnoses(trained).of({0: ITEMS[0], 2: ITEMS[2]})
    assert diagnoses == {0: {"skipped": diagnostics.SCATTERED}, 2: {"skipped": diagnostics.SCATTERED}}


def test_a_lane_whose_diagnosis_fails_loses_its_own_numbers_alone_and_says_why(caplog) -> None:
    engine, _ = train([0, 2])
    with torch.no_grad():
        next(iter(d2lora.adapter_parameters(engine.model, 1).values())).fill_(float("nan"))
    diagnoses = Diagnoses(engine).of({0: ITEMS[0], 1: ITEMS[2]})
    assert diagnoses[0].keys() == ALL
    assert diagnoses[1].keys() == {"skipped", "seconds"}
    assert "linalg" in diagnoses[1]["skipped"]
    assert "No diagnostics for lanes [1]" in caplog.text


def test_numbers_that_are_not_finite_are_named_and_left_out(trained: PlainEngine) -> None:
    engine, _ = train([2])
    with torch.no_grad():
        for name, value in d2lora.adapter_parameters(engine.model).items():
            if name.endswith("up"):
                value.fill_(1e200)  # its square is beyond float64
    diagnosis = Diagnoses(engine, bounds=Bounds(layers=0)).of({0: ITEMS[2]})[0]
    assert "not finite: " in diagnosis["skipped"]
    assert "norm_drift_max" in diagnosis["skipped"]
    assert all(math.isfinite(value) for name, value in diagnosis.items() if name != "skipped")


def test_without_dense_layers_the_thin_numbers_and_the_merge_gap_are_there(trained: PlainEngine) -> None:
    diagnosis = Diagnoses(trained, bounds=Bounds(layers=0)).of({0: ITEMS[0]})[0]
    assert diagnosis.keys() == {
        "norm_drift_mean", "norm_drift_max", "effective_rank", "stable_rank", "merge_gap", "seconds",
    }  # fmt: skip


def test_a_batch_is_a_few_rows_however_long_and_one_at_least() -> None:
    def item(length: int) -> Item:
        return Item((tuple(range(length)), tuple(range(length))), (length - 1,) * 2, 0, (1, 1))

    assert [len(ids) for ids, _ in first_rows([item(10)] * 9)] == [10] * diagnostics.ROWS
    assert [len(ids) for ids, _ in first_rows([item(200), item(100), item(250)])] == [200, 100]  # 3 * 250 > 512
    assert [len(ids) for ids, _ in first_rows([item(5000), item(5)])] == [5000]
