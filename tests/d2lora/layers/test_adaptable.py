"""What attach understands it adapts and gives back as it was; what it does not, it refuses by name and class."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import d2lora
from d2lora.attachment import adapted_layers
from d2lora.device_profile import CPU, PROFILES
from d2lora.layers.adapted import AdaptedLinear
from d2lora.layers.frozen import FrozenLinear
from tests.d2lora.layers.test_adapted import CountAllocations, lane, shake


class Doubled(nn.Linear):
    """As FP8 and quantised layers are: a subclass with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Named(nn.Linear):
    """A linear layer by another name."""


def patched() -> nn.Linear:
    layer = nn.Linear(4, 4)
    layer.forward = lambda x: x  # type: ignore[method-assign]
    return layer


def weighted(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(4, 4)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer


class Wrapped(Tensor):
    """A tensor of another class, as quantised and sharded ones are."""


ODD = {
    "a forward of its own": (Doubled(4, 4), "odd is a Doubled .*its class has a forward of its own"),
    "a replaced forward": (patched(), "odd is a Linear .*its forward was replaced"),
    "a parametrisation": (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), "computed from other tensors"),
    "orthogonal": (nn.utils.parametrizations.orthogonal(nn.Linear(4, 4)), "computed from other tensors"),
    "int8": (weighted(torch.ones(4, 4, dtype=torch.int8)), "4 x 4 of torch.int8.*without quantisation"),
    "packed": (weighted(torch.ones(8, 1, dtype=torch.uint8)), "8 x 1 of torch.uint8, where 4 x 4"),
    "fp8": (weighted(torch.ones(4, 4).to(torch.float8_e4m3fn)), "float8_e4m3fn"),
    "packed floats": (weighted(torch.ones(2, 4)), "2 x 4 of torch.float32, where 4 x 4"),
    "a tensor of another class": (weighted(torch.ones(4, 4).as_subclass(Wrapped)), "its weight is a Wrapped"),
    "meta": (nn.Linear(4, 4, device="meta"), "odd is on the meta device.*load the weights"),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_not_understood_is_refused_by_name_and_nothing_is_changed(kind: str) -> None:
    odd, message = ODD[kind]
    model = nn.ModuleDict({"plain": nn.Linear(4, 4), "odd": odd})
    before = {name: type(module) for name, module in model.named_modules()}
    with pytest.raises(ValueError, match=message):
        d2lora.attach_lanes(model, [lane("lora")], ["*"])
    assert {name: type(module) for name, module in model.named_modules()} == before
    assert model.plain.weight.requires_grad
    d2lora.attach_lanes(model, [lane("lora")], ["plain"])  # the remedy: leave it out
    assert list(adapted_layers(model)) == ["plain"]


def test_weight_norm_by_hooks_is_refused_and_its_remedy_works() -> None:
    with pytest.warns(FutureWarning, match="weight_norm"):
        model = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 4)))
    with pytest.raises(ValueError, match=r"0 is a Linear .*computed from other tensors"):
        d2lora.attach_lanes(model, [lane("lora")], ["*"])
    nn.utils.remove_weight_norm(model[0])
    d2lora.attach_lanes(model, [lane("lora")], ["*"])


def test_a_parametrisation_is_adapted_once_it_is_removed() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)))
    nn.utils.parametrize.remove_parametrizations(model[0], "weight")
    d2lora.attach_lanes(model, [lane("lora")], ["*"])


def test_the_projection_that_attention_never_calls_is_refused() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16)
    with pytest.raises(ValueError, match=r"self_attn.out_proj is a NonDynamic.*MultiheadAttention reads its weight"):
        d2lora.attach_lanes(model, [lane("lora")], ["*"])
    d2lora.attach_lanes(model, [lane("lora")], ["linear1", "linear2"])


def test_a_frozen_layer_is_our_own_and_is_adapted() -> None:
    model = d2lora.freeze(nn.Sequential(nn.Linear(4, 4)))
    assert type(model[0]) is FrozenLinear
    d2lora.attach_lanes(model, [lane("lora")], ["*"])
    assert type(d2lora.detach(model)[0]) is nn.Linear


def test_a_linear_layer_by_another_name_is_adapted_and_given_back_as_it_was() -> None:
    model, x = nn.Sequential(Named(4, 4), nn.Linear(4, 4)), torch.randn(2, 4)
    wanted = model(x)
    d2lora.attach_lanes(model, [lane("dora")], ["*"])
    torch.testing.assert_close(model(x), wanted)
    assert type(d2lora.merge(model)[0]) is nn.Linear
    assert [type(layer) for layer in d2lora.detach(model)] == [Named, nn.Linear]


def test_a_rank_that_one_layer_cannot_have_changes_no_layer() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
    with pytest.raises(ValueError, match="1: rank=4 is larger than the smaller side of a 2 x 8 weight"):
        d2lora.attach_lanes(model, [lane("lora", rank=4)], ["*"])
    assert not adapted_layers(model)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("targets", "matched"),
    [
        (["q_proj"], ["a.q_proj", "b.q_proj"]),
        (["*.q_proj"], ["a.q_proj", "b.q_proj"]),
        (["q_*"], []),
        (["*q_proj"], ["a.q_proj", "b.q_proj"]),
        (["a.q_proj"], ["a.q_proj"]),
        (["?_proj"], ["a.q_proj", "a.v_proj", "b.q_proj", "b.v_proj"]),
        (["[qv]_proj", "head"], ["a.q_proj", "a.v_proj", "b.q_proj", "b.v_proj", "head"]),
        (["head"], ["head"]),
        (["proj"], []),
        (["q_proj", "a.*"], ["a.q_proj", "a.v_proj", "b.q_proj"]),
        (["Q_proj"], []),
    ],
)
def test_a_pattern_without_dot_or_star_means_the_last_part_of_a_name(targets: list[str], matched: list[str]) -> None:
    blocks = {name: nn.ModuleDict({"q_proj": nn.Linear(4, 4), "v_proj": nn.Linear(4, 4)}) for name in "ab"}
    model = nn.ModuleDict({**blocks, "head": nn.Linear(4, 4)})
    if matched:
        assert d2lora.match_targets(model, targets) == matched
        return
    with pytest.raises(ValueError, match=r"matches no linear layer of the model. There are: head, q_proj, v_proj\."):
        d2lora.match_targets(model, targets)
    d2lora.match_targets(model, ["head", "q_proj", "v_proj"])  # the remedy


def test_a_whole_name_means_that_layer_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4)))
    assert d2lora.match_targets(model, ["0"]) == ["0"]
    assert d2lora.match_targets(model, ["1.0"]) == ["1.0"]


def test_a_target_that_is_no_linear_layer_is_named_with_its_class() -> None:
    model = nn.ModuleDict({"embed": nn.Embedding(4, 4), "conv": nn.Conv1d(4, 4, 1), "out": nn.Linear(4, 4)})
    with pytest.raises(ValueError, match=r"'conv' matches conv, a Conv1d: only nn.Linear .* There are: out\."):
        d2lora.match_targets(model, ["conv"])
    del model["out"]
    with pytest.raises(ValueError, match=r"'\*' matches embed, a Embedding.*The model has none, so it cannot"):
        d2lora.match_targets(model, ["*"])
    with pytest.raises(ValueError, match="No targets: name the layers"):
        d2lora.match_targets(model, [])


@pytest.mark.parametrize("training", [True, False])
def test_a_layer_keeps_its_mode_from_attach_to_detach_and_merge(training: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 4)).train(training)
    d2lora.attach_lanes(model, [lane("lora", dropout=0.9)], ["*"])
    assert {module.training for module in model.modules()} == {training}
    shake(model)
    x = torch.randn(3, 4)
    if not training:
        assert torch.equal(model(x), model(x))
        torch.testing.assert_close(model(x), d2lora.merge(model)(x))
    for plain in (d2lora.merge(model), d2lora.detach(model)):
        assert {module.training for module in plain.modules()} == {training}
    part = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4).eval())  # each layer its own
    d2lora.attach_lanes(part, [lane("lora")], ["*"])
    assert [layer.training for layer in part] == [True, False]


def test_hooks_of_every_kind_stay_and_go_back_with_the_layer() -> None:
    model, seen = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), []
    layer = model[0]
    handles = [
        layer.register_forward_pre_hook(lambda *_: seen.append("before")),
        layer.register_forward_hook(lambda *_: seen.append("after")),
        layer.register_forward_hook(lambda *_, **__: seen.append("keywords"), with_kwargs=True),
        layer.register_full_backward_hook(lambda *_: seen.append("backward")),
        layer.register_state_dict_post_hook(lambda *_: seen.append("state")),
        layer.register_load_state_dict_post_hook(lambda *_: seen.append("load")),
    ]

    def used(model: nn.Module) -> list[str]:
        seen.clear()
        model(torch.ones(2, 4, requires_grad=True)).sum().backward()
        model.load_state_dict(model.state_dict())
        return list(seen)

    wanted = used(model)
    assert len(wanted) == 6
    d2lora.attach_lanes(model, [lane("lora")], ["*"])
    assert model[0] is layer
    assert used(model) == wanted
    assert used(d2lora.merge(model)) == wanted
    model[0].register_forward_hook(lambda *_: seen.append("later"))
    handles[1].remove()  # a handle of before works on
    assert used(model) == ["before", "keywords", "later", "backward", "state", "load"]
    assert used(d2lora.detach(model)) == ["before", "keywords", "later", "backward", "state", "load"]


def test_what_else_a_layer_has_stays_with_it_and_with_its_merged_copy() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].note = {"from": ["somebody"]}
    model[0].register_buffer("seen", torch.zeros(1))
    model[0].register_forward_hook(Counts(model[0]))
    d2lora.attach_lanes(model, [lane("lora")], ["*"])
    merged = d2lora.merge(model)
    merged(torch.zeros(1, 4))
    assert (float(merged[0].seen), float(model[0].seen)) == (1, 0)  # a copy's hook counts for the copy
    assert merged[0].note == model[0].note is not merged[0].note
    plain = d2lora.detach(model)[0]
    assert plain.note == {"from": ["somebody"]}
    assert vars(plain).keys() == vars(nn.Linear(4, 4)).keys() | {"note"}


class Counts:
    """A hook that knows a module of its model."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, *_: object) -> None:
        self.module.seen += 1  # type: ignore[operator]


class Shared(nn.Module):
    """One layer under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = self.first

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x))
        return y


@pytest.mark.parametrize("targets", [["first"], ["second"], ["*"], ["first", "second"]])
def test_one_layer_under_two_names_is_adapted_under_both_as_one(targets: list[str]) -> None:
    model, x = Shared(), torch.randn(3, 4)
    d2lora.attach_lanes(model, [lane("lora")], targets)
    assert model.first is model.second
    assert list(adapted_layers(model)) == ["first"]
    assert [name.partition(".")[0] for name in d2lora.adapter_state(model)] == ["first", "first"]
    shake(model)
    merged = d2lora.merge(model)
    assert merged.first is merged.second
    torch.testing.assert_close(merged(x), model(x))
    assert type(d2lora.detach(model).second) is nn.Linear


def test_a_model_that_is_one_layer_is_adapted_itself() -> None:
    model, x = nn.Linear(4, 3), torch.randn(2, 4)
    d2lora.attach_lanes(model, [lane("lora"), lane("dora", 1)], ["*"])
    assert isinstance(model, AdaptedLinear)
    model(x).sum().backward()
    assert type(d2lora.merge(model)) is type(d2lora.detach(model)) is nn.Linear


@pytest.mark.parametrize("lane_number", [-1, 2, 99])
def test_a_lane_that_is_not_there_is_refused_by_merge(lane_number: int) -> None:
    model = d2lora.attach_lanes(nn.Sequential(nn.Linear(4, 4)), [lane("lora"), lane("lora", 1)], ["*"])
    with pytest.raises(ValueError, match=rf"lane={lane_number} is not among the model's 2 lanes"):
        d2lora.merge(model, lane_number)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", d2lora.available_methods())
def test_attaching_copies_no_weight(method: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thin tensors here have at most 2 * 256 elements, a weight 65,536; norms see four rows at once."""

    monkeypatch.setitem(PROFILES, "cpu", replace(CPU, slice_bytes=4 * 4 * 256))
    model = nn.Sequential(*(nn.Linear(256, 256) for _ in range(3))).to(dtype)
    with CountAllocations(8 * 256) as counter:
        d2lora.attach_lanes(model, [lane(method, seed) for seed in range(4)], ["*"])
    assert counter.count == 0


def test_norms_are_computed_once_for_all_lanes_of_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    from d2lora.norms import norm_cache

    computed = []
    real = norm_cache._computed
    monkeypatch.setattr(norm_cache, "_computed", lambda *args: computed.append(args) or real(*args))
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    d2lora.attach_lanes(model, [lane("dora", seed) for seed in range(5)], ["*"])
    model(torch.zeros(5, 8))
    assert len(computed) == 2


NARROW = {
    "to": lambda model: model.to(torch.bfloat16),
    "to a place and type": lambda model: model.to("cpu", torch.float16),
    "bfloat16": nn.Module.bfloat16,
    "half": nn.Module.half,
    "type": lambda model: model.type(torch.bfloat16),
}


@pytest.mark.parametrize("by", NARROW)
def test_adapters_stay_in_float32_where_the_base_becomes_narrower(by: str) -> None:
    model = d2lora.attach_lanes(nn.Sequential(nn.Linear(8, 8)), [lane("d2lora"), lane("dora", 1)], ["*"])
    shake(model)
    model(torch.ones(2, 8)).sum().backward()
    before = {name: (one, one.clone(), one.grad.clone()) for name, one in d2lora.adapter_parameters(model, 1).items()}
    NARROW[by](model)
    narrow = model[0].weight.dtype
    assert narrow.itemsize == 2
    assert model[0].weight.dtype == model[0].bias.dtype == narrow
    for name, parameter in d2lora.adapter_parameters(model, 1).items():
        same, value, gradient = before[name]
        assert parameter is same  # an optimizer that knows it goes on
        assert torch.equal(parameter, value)
        assert torch.equal(parameter.grad, gradient)
        assert parameter.dtype == parameter.grad.dtype == torch.float32
    y = model(torch.ones(2, 8, dtype=narrow))
    assert y.dtype == narrow
    y.float().sum().backward()


def test_adapters_follow_to_a_wider_type_and_back() -> None:
    model = d2lora.attach_lanes(nn.Sequential(nn.Linear(8, 8)), [lane("dora")], ["*"])
    for dtype in (torch.float64, torch.float32):
        model.to(dtype)
        assert {one.dtype for one in model.parameters()} == {dtype}
        model(torch.ones(1, 8, dtype=dtype)).sum().backward()


def test_a_copy_of_an_adapted_layer_shares_nothing() -> None:
    model = d2lora.attach_lanes(nn.Sequential(nn.Linear(8, 8)), [lane("dora")], ["*"])
    x = torch.ones(1, 8)
    wanted, other = model(x), copy.deepcopy(model)
    shake(model)
    with torch.no_grad():
        model[0].weight.mul_(3)
    assert torch.equal(other(x), wanted)
