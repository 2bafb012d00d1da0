"""Diagnoses against dense autograd and dense decompositions, in float64, and on cases whose answer is known."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

import d2lora
from d2lora.diagnosis.diagnose import base_spectra, chosen_layers, diagnose, diagnose_lanes, norm_drift, whole_update
from d2lora.diagnosis.gradients import axis_of, effective_gradients, gradient_shares, record_activations
from d2lora.diagnosis.merge_gap import as_merged, merge_gap
from d2lora.diagnosis.spectra import (
    BaseVectors,
    Bounds,
    base_vectors,
    count_intruders,
    dense_values,
    effective_rank,
    leading_vectors,
    product_values,
    stable_rank,
)
from d2lora.method import Params
from d2lora.norms.base_weight import BaseWeight
from tests.d2lora.layers.test_adapted import lane, shake
from tests.helpers.methods import IDS, SETTINGS, config_of, trained

OUT, IN = 24, 16
EXACT = {"rtol": 1e-10, "atol": 1e-12}  # float64: what is left is the order of additions
all_methods = pytest.mark.parametrize(("method", "settings"), SETTINGS, ids=IDS)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthonormal(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(randn(rows, columns, seed=seed)).Q


def with_values(values: list[float], rows: int = OUT, columns: int = IN) -> tuple[Tensor, Tensor, Tensor]:
    """Return a matrix with these singular values, and its left and right vectors."""
    left, right = orthonormal(rows, len(values), seed=5), orthonormal(columns, len(values), seed=6)
    return left @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ right.mT, left, right


# ranks


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_an_update_of_orthonormal_factors_has_its_rank_as_effective_and_stable_rank(rank: int) -> None:
    values = product_values(7 * orthonormal(OUT, rank)[None], orthonormal(IN, rank, seed=1).mT[None])
    assert float(effective_rank(values)) == pytest.approx(rank, rel=1e-12)
    assert float(stable_rank(values)) == pytest.approx(rank, rel=1e-12)


def test_ranks_of_known_values() -> None:
    values = torch.tensor([2.0, 1.0, 0.0])
    # p = (2/3, 1/3): exp(ln 3 - 2/3 ln 2) = 3 / 2^(2/3); and (4 + 1) / 4
    assert float(effective_rank(values)) == pytest.approx(3 / 2 ** (2 / 3), rel=1e-12)
    assert float(stable_rank(values)) == pytest.approx(1.25)
    assert [float(rank(torch.zeros(4))) for rank in (effective_rank, stable_rank)] == [0, 0]


def test_values_from_thin_factors_and_from_a_gram_matrix_are_those_of_a_dense_decomposition() -> None:
    up_LOR, down_LRI = randn(2, OUT, 5), randn(2, 5, IN, seed=1)
    for index, values in enumerate(product_values(up_LOR, down_LRI)):
        dense = up_LOR[index] @ down_LRI[index]
        torch.testing.assert_close(values, torch.linalg.svdvals(dense)[:5], **EXACT)
        for one in (dense, dense.mT):
            assert float(effective_rank(dense_values(one))) == pytest.approx(float(effective_rank(values)), rel=1e-6)


def test_a_rank_beyond_a_side_is_cut_to_it() -> None:
    up_LOR, down_LRI = randn(1, 4, 6), randn(1, 6, 5, seed=1)
    wanted = torch.linalg.svdvals(up_LOR[0] @ down_LRI[0])
    torch.testing.assert_close(product_values(up_LOR, down_LRI)[0][:4], wanted, **EXACT)


# norms


@all_methods
def test_norm_drift_is_that_of_the_dense_effective_weight(method: str, settings: dict[str, Any]) -> None:
    config, module, weight_OI = config_of(method, settings), d2lora.get_method(method), randn(OUT, IN, seed=2)
    each = [trained(method, config, weight_OI, seed) for seed in range(2)]
    axis = axis_of(d2lora.Lane(method, config))
    with torch.no_grad():
        thin = module.factored(
            BaseWeight(weight_OI), {name: torch.stack([one[name] for one in each]) for name in each[0]}, config
        )
        drifts = norm_drift(BaseWeight(weight_OI), thin, axis)
    dim = 1 if axis == "out" else 0
    for params, drift in zip(each, drifts, strict=True):
        dense = module.effective_weight(weight_OI, params, config).detach()
        torch.testing.assert_close(drift, dense.norm(dim=dim) / weight_OI.norm(dim=dim) - 1, **EXACT)


def test_a_column_of_zeros_has_no_drift_and_a_scale_across_is_refused() -> None:
    weight_OI, config = randn(OUT, IN), config_of("d2lora", {"norm_axis": "in"})
    weight_OI[:, 3] = 0
    params = {name: value[None] for name, value in trained("d2lora", config, weight_OI).items()}
    thin = d2lora.get_method("d2lora").factored(BaseWeight(weight_OI), params, config)
    drift = norm_drift(BaseWeight(weight_OI), thin, "in")
    assert drift.shape == (1, IN - 1)
    assert drift.isfinite().all()
    with pytest.raises(ValueError, match="along 'out' of a weight that is scaled along the other axis"):
        norm_drift(BaseWeight(weight_OI), thin, "out")


# gradients


def acting(moved_OI: Tensor, weight_OI: Tensor, params: Params, method: str, config: Any) -> Tensor:
    """The weight that acts as a function of V = W + dW, for the methods of the papers, written down a second time."""
    if method == "lora":
        return moved_OI
    dim = 1 if method == "dora" or config.norm_axis == "out" else 0
    norms = (moved_OI if config.norm_grad == "through" else moved_OI.detach()).norm(dim=dim, keepdim=True)
    if method == "dora":
        return params["magnitude"].detach()[:, None] * moved_OI / norms
    projected = moved_OI * (weight_OI.norm(dim=dim, keepdim=True) / norms) if config.projection == "on" else moved_OI
    return projected + config.readd * (moved_OI - weight_OI)


@pytest.mark.parametrize(("method", "settings"), [case for case in SETTINGS if case[0] in ("lora", "dora", "d2lora")])
def test_shares_of_the_gradient_are_those_of_dense_autograd(method: str, settings: dict[str, Any]) -> None:
    config, weight_OI, gradient_OI = config_of(method, settings), randn(OUT, IN, seed=2), randn(OUT, IN, seed=3)
    params = trained(method, config, weight_OI)
    update_OI = d2lora.get_method(method).update(params, config).detach()
    moved_OI = (weight_OI + update_OI).requires_grad_()
    (acting(moved_OI, weight_OI, params, method, config) * gradient_OI).sum().backward()
    spec = d2lora.Lane(method, config)
    dim = 1 if axis_of(spec) == "out" else 0
    along = (moved_OI.grad * moved_OI.detach()).sum(dim) / moved_OI.detach().norm(dim=dim)
    across = moved_OI.grad - along.unsqueeze(dim) * normalize(moved_OI.detach(), dim=dim)
    total = moved_OI.grad.square().sum()
    shares = gradient_shares(weight_OI, params, spec, gradient_OI)
    assert shares["radial_share"] == pytest.approx(float(along.square().sum() / total), rel=1e-9, abs=1e-25)
    assert shares["tangential_share"] == pytest.approx(float(across.square().sum() / total), rel=1e-9)
    assert all(value.grad is None for value in params.values())


@pytest.mark.parametrize("axis", ["out", "in"])
def test_d2lora_without_readd_drifts_nowhere_and_has_no_radial_gradient_and_lora_has_both(axis: str) -> None:
    weight_OI, gradient_OI = randn(OUT, IN, seed=2), randn(OUT, IN, seed=3)

    def numbers(method: str, **settings: object) -> tuple[float, float]:
        config = config_of(method, settings)
        params = trained(method, config, weight_OI)
        stacked = {name: value.detach()[None] for name, value in params.items()}
        spec = d2lora.Lane(method, config)
        thin = d2lora.get_method(method).factored(BaseWeight(weight_OI), stacked, config)
        drift = float(norm_drift(BaseWeight(weight_OI), thin, axis_of(spec)).abs().max())
        return drift, gradient_shares(weight_OI, params, spec, gradient_OI)["radial_share"]

    drift, radial = numbers("d2lora", readd=0, norm_axis=axis)
    assert drift < 1e-13
    assert radial < 1e-28
    assert numbers("d2lora", readd=0, norm_axis=axis, norm_grad="detach")[1] > 0.01
    assert numbers("d2lora", readd=1, norm_axis=axis)[0] > 0.01
    lora_drift, lora_radial = numbers("lora")
    assert lora_drift > 0.01
    assert lora_radial > 0.01


def test_a_gradient_without_preference_is_radial_by_one_over_the_length_of_a_column() -> None:
    weight_OI, config = randn(2000, 25), config_of("lora", {})
    params, spec = trained("lora", config, weight_OI), d2lora.Lane("lora", config)
    shares = gradient_shares(weight_OI, params, spec, randn(2000, 25, seed=8))
    # 2,000 columns, each with a share of mean 1/25 and standard deviation below 0.06: four standard errors
    assert shares["radial_share"] == pytest.approx(1 / 25, abs=4 * 0.06 / 2000**0.5)


def test_a_gradient_of_zero_has_no_shares() -> None:
    weight_OI, config = randn(OUT, IN), config_of("lora", {})
    assert (
        gradient_shares(weight_OI, trained("lora", config, weight_OI), d2lora.Lane("lora", config), weight_OI * 0) == {}
    )


def a_model(lanes: list[d2lora.Lane], width: int = 12) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(width, width + 4), nn.GELU(), nn.Linear(width + 4, width)).double()
    d2lora.attach_lanes(model, lanes, ["*"])
    shake(model)
    return model


MIXED = [lane("d2lora"), lane("lora", 1), lane("dora", 2), lane("d2lora", 3, norm_axis="in", readd=0)]
COUNTS = (2, 0, 1, 3)


def test_gradients_of_effective_weights_are_those_of_the_merged_model_for_every_lane() -> None:
    model, x, dy = a_model(MIXED), randn(6, 3, 12, seed=4), randn(6, 3, 12, seed=5)
    with d2lora.lane_rows(model, COUNTS), record_activations(model, ["0", "2"]) as activations:
        loss = (model(x) * dy).sum()
    gradients = dict(effective_gradients(loss, activations))
    assert sorted(gradients) == [0, 2, 3]
    for index, rows, slope in zip(range(4), x.split(COUNTS), dy.split(COUNTS), strict=True):
        if index in gradients:
            plain = d2lora.merge(model, index).requires_grad_()
            (plain(rows) * slope).sum().backward()
            for name in ("0", "2"):
                torch.testing.assert_close(gradients[index][name], plain.get_submodule(name).weight.grad, **EXACT)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


# merge gap


def test_a_model_that_acts_as_merged_computes_what_its_merged_lanes_compute() -> None:
    model, x = a_model(MIXED), randn(6, 3, 12, seed=4)
    with d2lora.lane_rows(model, COUNTS), as_merged(model):
        y = model(x)
    wanted = torch.cat([d2lora.merge(model, index)(rows) for index, rows in enumerate(x.split(COUNTS))])
    assert torch.equal(y, wanted)
    assert not any(module._forward_hooks for module in model.modules())


def test_the_merge_gap_is_rounding_and_sees_the_type_that_the_weight_is_rounded_to() -> None:
    model, x_NI = a_model(MIXED), randn(5, 12, seed=4)
    assert all(merge_gap(model[0], index, x_NI) < 1e-13 for index in range(4))
    half = nn.Sequential(nn.Linear(12, 12)).bfloat16()
    d2lora.attach_lanes(half, MIXED, ["*"])
    shake(half)
    for index in range(4):
        gap = merge_gap(half[0], index, x_NI.bfloat16())
        with d2lora.lane_rows(half, [5 * (index == other) for other in range(4)]), torch.no_grad():
            wanted = half[0].merged(index)(x_NI.bfloat16()) - half(x_NI.bfloat16())
        assert gap == float(wanted.abs().max()) > 1e-4
    assert half[0].batch_rows.counts is None


# intruders

BASE, LEFT, RIGHT = with_values([10 * 0.8**place for place in range(12)])
BASES = base_vectors(BASE, Bounds())


def planted(value: float) -> tuple[Tensor, Tensor]:
    """Return the base with one more direction, orthogonal to all of its own, and that direction."""
    noise = randn(OUT, 1, seed=7)
    new_O1 = normalize(noise - LEFT @ (LEFT.mT @ noise), dim=0)
    from_I1 = randn(IN, 1, seed=8)
    from_I1 = normalize(from_I1 - RIGHT @ (RIGHT.mT @ from_I1), dim=0)
    return BASE + value * new_O1 @ from_I1.mT, new_O1


THE_BASES_OWN = BaseVectors(LEFT, whole=True)


@pytest.mark.parametrize(
    ("value", "count", "after_repair"),
    [(9.0, 1, 1), (1.5, 1, 0), (0.5, 0, 0)],
    ids=["leads before and after", "falls behind when repaired", "never led"],
)
@pytest.mark.parametrize("exact_side", [256, 1], ids=["whole", "by block iteration"])
def test_a_planted_intruder_is_counted_where_it_leads(
    value: float, count: int, after_repair: int, exact_side: int
) -> None:
    """The tenth of the base's values is 1.34: 1.5 leads and 0.75 * 1.5 does not."""
    tuned, new_O1 = planted(value)
    counted = count_intruders(tuned, new_O1, THE_BASES_OWN, Bounds(exact_side=exact_side))
    assert (counted.count, counted.after_repair) == (count, after_repair)


def test_the_base_and_a_change_of_its_values_alone_have_no_intruders() -> None:
    louder = LEFT @ torch.diag(torch.linspace(1, 40, 12, dtype=torch.float64)) @ RIGHT.mT  # the last now leads
    for tuned in (BASE, louder):
        assert count_intruders(tuned, LEFT[:, :1], BASES, Bounds()).count == 0
    few = BaseVectors(LEFT[:, :4], whole=False)  # what is compared with fewer vectors is an upper bound
    assert count_intruders(louder, LEFT[:, :1], few, Bounds()).count == 8


def test_intruders_are_those_that_peft_repairs() -> None:
    """An independent reading of the paper: PEFT prints how many it counts in a layer of the same weights."""
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora.intruders import reduce_intruder_dimension

    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(32, 32) for _ in range(4)))
    ours = d2lora.attach(
        nn.Sequential(*(nn.Linear(32, 32) for _ in range(4))),
        "lora",
        config_of("lora", {"rank": 8, "alpha": 8.0}),
        ["*"],
    )
    peft = get_peft_model(model, LoraConfig(r=8, lora_alpha=8, target_modules=["0", "1", "2", "3"]))
    with torch.no_grad():
        for index in range(4):
            theirs = peft.base_model.model[index]
            ours[index].weight.copy_(theirs.weight)
            noise = torch.Generator().manual_seed(index)
            theirs.lora_B["default"].weight.copy_(0.4 * (index + 1) * torch.randn(32, 8, generator=noise))
            ours[index].params(0)["up"].copy_(theirs.lora_B["default"].weight)
            ours[index].params(0)["down"].copy_(theirs.lora_A["default"].weight)
    told: list[str] = []
    reduce_intruder_dimension(peft, logging_sink=told.append)
    counts = [int(re.sub(r".*Intruders: ", "", line)) if "Intruders" in line else 0 for line in told[:4]]
    assert sum(counts) > 4
    bases = base_spectra(ours, Bounds(layers=4))
    ours_counted = [
        count_intruders(ours[i].effective_weight(0), ours[i].params(0)["up"].detach(), bases[str(i)], Bounds()).count
        for i in range(4)
    ]
    assert ours_counted == counts


def test_leading_vectors_by_block_iteration_are_those_of_a_dense_decomposition() -> None:
    """From a random start of 16 of 40 columns whose values fall by 0.8: (0.8^(16 - j))^(2 * 8) at vector j."""
    weight_OI, left, _ = with_values([0.8**place for place in range(40)], rows=60, columns=50)
    vectors, values = leading_vectors(weight_OI, randn(60, 16), rounds=8)
    cosines = (vectors.mT @ left[:, :16]).abs().diagonal()
    assert (1 - cosines[:8]).max() < 1e-10
    torch.testing.assert_close(values[:8], torch.tensor([0.8**place for place in range(8)], dtype=torch.float64))


def test_a_large_base_is_compared_by_its_leading_vectors() -> None:
    weight_OI, left, _ = with_values([0.9**place for place in range(40)], rows=60, columns=50)
    part = base_vectors(weight_OI, Bounds(whole_side=30, leading=8))
    whole = base_vectors(weight_OI, Bounds())
    assert (part.whole, part.left_OK.shape[1], whole.whole) == (False, 8, True)
    assert (1 - (part.left_OK.mT @ left[:, :8]).abs().diagonal()).max() < 1e-3
    assert (1 - (whole.left_OK[:, :40].mT @ left).abs().diagonal()).max() < 1e-10


# a model's lane


def by_hand(weight_OI: Tensor, dense_OI: Tensor, dim: int) -> dict[str, float]:
    """What one layer's base and effective weight tell, from whole decompositions."""
    drift = (dense_OI.norm(dim=dim) / weight_OI.norm(dim=dim) - 1).abs()
    left, before = (torch.linalg.svd(one, full_matrices=False)[0] for one in (dense_OI, weight_OI))
    return {
        "norm_drift_mean": float(drift.mean()),
        "norm_drift_max": float(drift.max()),
        "update_effective_rank": float(effective_rank(torch.linalg.svdvals(dense_OI - weight_OI))),
        "intruders": int(((left.mT @ before)[:10].abs().amax(1) < 0.5).sum()),
    }


def test_a_lane_of_a_model_is_what_its_layers_are_by_hand() -> None:
    model = a_model(MIXED)
    everything = diagnose_lanes(model, range(4), bounds=Bounds(layers=2))
    for index, numbers in everything.items():
        dim = 1 if axis_of(MIXED[index]) == "out" else 0
        one, other = (by_hand(model[at].weight, model[at].effective_weight(index), dim) for at in (0, 2))
        for name, value in one.items():
            wanted = max(value, other[name]) if name == "norm_drift_max" else (value + other[name]) / 2
            assert numbers[name] == pytest.approx(wanted, rel=1e-6, abs=1e-12), name
        assert diagnose(model, index, bounds=Bounds(layers=2)) == pytest.approx(numbers, rel=1e-9, abs=1e-12)
        update_OI = model[0].effective_weight(index) - model[0].weight
        torch.testing.assert_close(whole_update(model[0], index), update_OI, **EXACT)


def test_layers_are_chosen_from_first_to_last_and_dense_numbers_can_be_left_out() -> None:
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(9)))
    d2lora.attach(model, "lora", config_of("lora", {}), ["*"])
    chosen = {count: chosen_layers(model, Bounds(layers=count)) for count in (0, 1, 3, 20)}
    assert chosen == {0: [], 1: ["0"], 3: ["0", "4", "8"], 20: [str(place) for place in range(9)]}
    assert diagnose(model, bounds=Bounds(layers=0)).keys() == {
        "norm_drift_mean", "norm_drift_max", "effective_rank", "stable_rank",
    }  # fmt: skip
    projected = a_model([lane("d2lora")])
    assert "update_effective_rank" not in diagnose(projected, bounds=Bounds(whole_side=3, leading=2))


def test_a_model_at_its_start_has_moved_nowhere() -> None:
    model = nn.Sequential(nn.Linear(8, 8)).double()
    d2lora.attach(model, "d2lora", config_of("d2lora", {}), ["*"])
    numbers = diagnose(model)
    assert numbers["norm_drift_max"] < 1e-14
    assert [numbers[name] for name in ("effective_rank", "stable_rank", "intruders")] == [0, 0, 0]


def test_weights_that_are_not_whole_and_impossible_bounds_are_errors_with_the_remedy() -> None:
    model = nn.Sequential(nn.Linear(8, 8))
    with pytest.raises(ValueError, match=r"call d2lora\.attach first"):
        diagnose(model)
    d2lora.attach(model, "lora", config_of("lora", {}), ["*"])
    model[0].weight.data = torch.empty(0)
    with pytest.raises(ValueError, match="not whole on this rank: gather them first, or train below ZeRO stage 3"):
        diagnose(model)
    with pytest.raises(ValueError, match="layers=-1, top=10, leading=128"):
        Bounds(layers=-1)
    with pytest.raises(ValueError, match=r"threshold=0 and repair=0\.75"):
        Bounds(threshold=0)
