"""Adapters in folders: PEFT reads ours and we read PEFT's; what neither can mean is refused before anything changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import d2lora
from d2lora.attachment import adapted_layers
from d2lora.formats.peft_files import exported
from d2lora.method import PeftForm
from tests.d2lora.layers.test_adapted import lane

peft = pytest.importorskip("peft", reason="peft is a development dependency")

EXACT = {"rtol": 1e-5, "atol": 1e-5}  # float32, summed in another order
LIKE_PEFTS = {
    "lora": lane("lora", alpha=3.0),
    "dora": lane("dora", alpha=3.0),
    "a D2-LoRA that is a DoRA": lane("d2lora", readd=0, alpha=3.0, rank_minus=1, tau=0.7),
    "with a learned tau": lane("d2lora", readd=0, tau="learned"),
    "without a minus pair": lane("d2lora", readd=0, minus="off"),
    "with a detached one": lane("d2lora", readd=0, minus="detach", norm_grad="detach"),
    "unprojected": lane("d2lora", projection="off", readd=0),
    "unprojected, added twice": lane("d2lora", projection="off", readd=1, tau=0.0),
}
OURS_ALONE = {
    "d2lora": lane("d2lora"),
    "over inputs": lane("d2lora", norm_axis="in", readd=0),
    "over inputs, added twice": lane("d2lora", norm_axis="in", tau="learned"),
}
ALL = LIKE_PEFTS | OURS_ALONE


class Net(nn.Module):
    """Layers whose names end alike, and one that no target means."""

    def __init__(self, zero_row: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.proj = nn.Linear(6, 8)
        self.rest = nn.ModuleDict({"proj": nn.Linear(8, 6, bias=False), "out": nn.Linear(6, 5)})
        if zero_row:
            nn.init.zeros_(self.rest["proj"].weight[2])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.rest["out"](self.rest["proj"](self.proj(x).tanh()).tanh())
        return y


TARGETS = ["proj", "rest.*"]
X = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))


def net(lanes: list[d2lora.Lane], seed: int = 1, targets: list[str] = TARGETS, **settings: Any) -> nn.Module:
    model = d2lora.attach_lanes(Net(**settings), lanes, targets)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def outputs(model: nn.Module, index: int = 0) -> Tensor:
    return d2lora.merge(model, index)(X)


@pytest.mark.parametrize("kind", LIKE_PEFTS)
@pytest.mark.parametrize("targets", [TARGETS, ["rest.proj", "rest.out"], ["proj"]])
def test_peft_computes_what_the_lane_computes(kind: str, targets: list[str], tmp_path: Path) -> None:
    """Also where the targets are ends of other layers' names, which PEFT would adapt as well."""
    model = net([lane("lora", 9), LIKE_PEFTS[kind]], targets=targets)
    d2lora.save(model, tmp_path / "new", lane=1)
    wrapped = peft.PeftModel.from_pretrained(Net(), tmp_path / "new")
    adapted = [name for name, module in wrapped.named_modules() if hasattr(module, "lora_A")]
    assert len(adapted) == len(adapted_layers(model))
    with torch.no_grad():
        torch.testing.assert_close(wrapped(X), outputs(model, 1), **EXACT)


@pytest.mark.parametrize("kind", OURS_ALONE)
def test_what_peft_cannot_hold_is_in_no_file_of_pefts(kind: str, tmp_path: Path) -> None:
    d2lora.save(net([OURS_ALONE[kind]]), tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter.json", "adapter.safetensors"]
    assert "peft_type" not in (tmp_path / "adapter.json").read_text()


@pytest.mark.parametrize("kind", ALL)
def test_a_lane_comes_back_bit_for_bit(kind: str, tmp_path: Path) -> None:
    source, target = net([lane("lora", 9), ALL[kind]]), net([ALL[kind], lane("dora", 8)], seed=2)
    beside = d2lora.adapter_state(target, 1)
    d2lora.save(source, tmp_path, lane=1)
    d2lora.load(target, tmp_path)
    for name, value in d2lora.adapter_state(source, 1).items():
        assert torch.equal(d2lora.adapter_state(target, 0)[name], value)
    assert all(torch.equal(value, beside[name]) for name, value in d2lora.adapter_state(target, 1).items())


@pytest.mark.parametrize("order", [("lora", "d2lora"), ("d2lora", "lora"), ("a D2-LoRA that is a DoRA", "dora")])
def test_a_folder_holds_what_was_saved_last(order: tuple[str, str], tmp_path: Path) -> None:
    for kind in order:
        d2lora.save(net([ALL[kind]]), tmp_path)
    target = net([ALL[order[1]]], seed=2)
    d2lora.load(target, tmp_path)
    torch.testing.assert_close(outputs(target), outputs(net([ALL[order[1]]])))


@pytest.mark.parametrize("kind", ["lora", "dora", "a D2-LoRA that is a DoRA"])
def test_a_row_of_zeros_is_exact_in_peft_or_ours_alone(kind: str, tmp_path: Path) -> None:
    model = net([LIKE_PEFTS[kind]], zero_row=True)
    d2lora.save(model, tmp_path / "moved")
    wrapped = peft.PeftModel.from_pretrained(Net(zero_row=True), tmp_path / "moved")
    with torch.no_grad():
        torch.testing.assert_close(wrapped(X), outputs(model), **EXACT)
    start = d2lora.attach_lanes(Net(zero_row=True), [LIKE_PEFTS[kind]], TARGETS)  # V has a row of zeros as well
    d2lora.save(start, tmp_path / "start")
    assert (tmp_path / "start" / "adapter_config.json").exists() == (kind == "lora")  # PEFT's DoRA would give NaN
    d2lora.load(start, tmp_path / "start")


def saved_by_peft(folder: Path, **settings: Any) -> Tensor:
    """Let PEFT make, train and save an adapter; return what it computes."""
    config = {"r": 2, "lora_alpha": 5, "target_modules": ["proj", "out"]} | settings
    torch.manual_seed(3)
    wrapped = peft.get_peft_model(Net(), peft.LoraConfig(**config))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
        wrapped.save_pretrained(folder)
        y: Tensor = wrapped.eval()(X)
    return y


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"use_dora": True},
        {"use_dora": True, "use_rslora": True, "lora_alpha": 1},
        {"rank_pattern": {"out": 1}},
        {"rank_pattern": {"rest.proj": 1}, "alpha_pattern": {"out": 9}},
        {"rank_pattern": {"^proj": 1}, "alpha_pattern": {"^proj": 9}, "use_dora": True},
        {"alpha_pattern": {"proj": 1}, "use_rslora": True},
        {"r": 1, "lora_alpha": 7},
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": False},
        {"lora_dropout": 0.3},
        {"target_modules": r"(rest\.)?proj|rest\.out"},
        {"target_modules": "all-linear"},
    ],
    ids=str,
)
def test_a_lane_computes_what_pefts_directory_means(settings: dict[str, Any], tmp_path: Path) -> None:
    if settings.get("target_modules") == "all-linear":
        settings = {"target_modules": ["proj", "rest.proj", "rest.out"]}  # PEFT leaves a head out
    wanted = saved_by_peft(tmp_path, **settings)
    method = "dora" if settings.get("use_dora") else "lora"
    model = net([lane("lora", 8), lane(method, 9, rank=2, alpha=4.0)])
    d2lora.load(model, tmp_path, lane=1)
    torch.testing.assert_close(outputs(model, 1), wanted, **EXACT)


def test_what_came_from_peft_goes_back_to_it(tmp_path: Path) -> None:
    wanted = saved_by_peft(tmp_path / "first", rank_pattern={"out": 1}, use_rslora=True, use_dora=True)
    model = net([lane("dora", rank=2)])
    d2lora.load(model, tmp_path / "first")
    d2lora.save(model, tmp_path / "second", base="somebody/model")
    wrapped = peft.PeftModel.from_pretrained(Net(), tmp_path / "second")
    with torch.no_grad():
        torch.testing.assert_close(wrapped(X), wanted, **EXACT)
    config = json.loads((tmp_path / "second" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "somebody/model"


@pytest.mark.parametrize("dora", [False, True])
def test_layers_of_other_ranks_and_scales_are_told_apart_though_their_names_end_alike(
    dora: bool, tmp_path: Path
) -> None:
    model = d2lora.attach_lanes(Net(), [lane("dora" if dora else "lora", rank=3)], TARGETS)
    forms = {}
    for number, (name, layer) in enumerate(adapted_layers(model).items()):
        shapes = (layer.out_features, number + 1), (number + 1, layer.in_features), (layer.out_features,)
        up_OR, down_RI, magnitude_O = (
            torch.rand(shape, generator=torch.Generator().manual_seed(number)) for shape in shapes
        )
        forms[name] = PeftForm(up_OR, down_RI, 1.5 - number, magnitude_O if dora else None)
    exported(model, forms).save(tmp_path)
    wrapped = peft.PeftModel.from_pretrained(Net(), tmp_path)
    d2lora.load(model, tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(wrapped(X), outputs(model), **EXACT)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bias": "all"}, r"asks for more than a LoRA of linear layers: bias='all'"),
        ({"lora_bias": True}, "lora_bias=True"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"init_lora_weights": "pissa"}, "a base that PEFT has changed.*path_initial_model"),
        ({"init_lora_weights": "olora"}, "a base that PEFT has changed"),
        ({"r": 3}, "has rank 3, the lane 2: attach a lane of rank 3"),
        ({"rank_pattern": {"out": 4}}, "has rank 4, the lane 2"),
        ({"use_dora": True}, "method 'dora', the lane is lora of rank 2: attach a lane of method 'dora'"),
        ({"target_modules": ["proj"]}, r"1 of the lane's are not there \['rest.out'\], and 0 are not"),
    ],
    ids=str,
)
def test_what_a_lane_cannot_hold_is_refused_and_nothing_changes(
    settings: dict[str, Any], message: str, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own, of fan_in_fan_out
        saved_by_peft(tmp_path, **settings)
    if settings.get("fan_in_fan_out"):  # PEFT corrects it for linear layers
        edit(tmp_path, fan_in_fan_out=True)
    model = net([lane("lora", rank=2)])
    before = d2lora.adapter_state(model)
    with pytest.raises(ValueError, match=message):
        d2lora.load(model, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in d2lora.adapter_state(model).items())


def edit(folder: Path, **values: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"peft_type": "LOHA"}, "peft_type='LOHA': only LORA"),
        ({"peft_type": None}, "peft_type=None"),
        ({"use_dora": True}, r"use_dora=True, but proj has other tensors"),
        ({"modules_to_save": ["out"]}, "modules_to_save"),
        ({"layer_replication": [[0, 4]]}, "layer_replication"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"something_new": {"deep": 1}}, "something_new"),
        ({"loftq_config": {}, "init_lora_weights": "loftq"}, "a base that PEFT has changed"),
    ],
)
def test_a_config_that_means_more_than_a_lora_is_refused(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    saved_by_peft(tmp_path)
    edit(tmp_path, **values)
    with pytest.raises(ValueError, match=message):
        d2lora.load(net([lane("lora", rank=2)]), tmp_path)


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "adapter_config.json", "adapter.json", "adapter.safetensors"]
)
@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 40, None])
def test_a_broken_or_missing_file_is_an_error_that_names_it(name: str, content: bytes | None, tmp_path: Path) -> None:
    kind = "a D2-LoRA that is a DoRA" if name in ("adapter.json", "adapter.safetensors") else "lora"
    d2lora.save(net([ALL[kind]]), tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="adapter"):
        d2lora.load(net([ALL[kind]]), tmp_path)


def test_a_folder_without_an_adapter_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no adapter: neither adapter.json nor adapter_config.json is there"):
        d2lora.load(net([lane("lora")]), tmp_path / "nothing")


def test_a_part_that_peft_has_trained_on_is_not_passed_over(tmp_path: Path) -> None:
    source = LIKE_PEFTS["a D2-LoRA that is a DoRA"]
    d2lora.save(net([source]), tmp_path)
    wrapped = peft.PeftModel.from_pretrained(Net(), tmp_path, is_trainable=True)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.mul_(1.1)
    wrapped.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"is not the one that was saved with adapter.json.*Take adapter.json"):
        d2lora.load(net([source]), tmp_path)
    for name in ("adapter.json", "adapter.safetensors"):  # the remedy
        (tmp_path / name).unlink()
    model = net([lane("dora", rank=3)])
    d2lora.load(model, tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(outputs(model), wrapped.eval()(X), **EXACT)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lane("lora"), "method 'd2lora', the lane is lora of rank 2: attach a lane of method 'd2lora'"),
        (lane("d2lora", alpha=3.0), "alpha is 16.0 there and 3.0 in the lane"),
        (lane("d2lora", tau=0.1), "tau is 0.5 there and 0.1"),
        (
            lane("d2lora", readd=0, norm_axis="in"),
            "readd is 1 there and 0 in the lane; norm_axis is 'out' there and 'in'",
        ),
        (lane("d2lora", rank=3), "rank is 2 there and 3"),
    ],
)
def test_an_adapter_of_other_settings_is_refused(other: d2lora.Lane, message: str, tmp_path: Path) -> None:
    d2lora.save(net([lane("d2lora")]), tmp_path)
    with pytest.raises(ValueError, match=message):
        d2lora.load(net([other]), tmp_path)
    d2lora.load(net([lane("d2lora", dropout=0.3, norm_grad="detach", start="kaiming-kaiming")]), tmp_path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_adapter_that_is_not_finite_is_not_saved(bad: float, tmp_path: Path) -> None:
    model = net([lane("lora")])
    with torch.no_grad():
        model.proj.down_0[0, 0] = bad
    with pytest.raises(ValueError, match=r"proj.*is not finite"):
        d2lora.save(model, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_model_that_is_one_layer_has_no_name_in_peft(tmp_path: Path) -> None:
    model = d2lora.attach_lanes(nn.Linear(4, 4), [lane("lora")], ["*"])
    with pytest.raises(ValueError, match="this model is one layer: put it into a larger one"):
        d2lora.save(model, tmp_path)


def test_a_half_precision_base_has_its_adapter_in_float32_in_peft_as_well(tmp_path: Path) -> None:
    model = net([lane("lora")]).to(torch.bfloat16)
    d2lora.save(model, tmp_path)
    wrapped = peft.PeftModel.from_pretrained(Net().to(torch.bfloat16), tmp_path)
    for name, layer in adapted_layers(model).items():
        theirs = wrapped.base_model.model.get_submodule(name)
        assert theirs.lora_B["default"].weight.dtype == torch.float32
        assert torch.equal(theirs.lora_B["default"].weight, layer.params(0)["up"])


@pytest.mark.parametrize("kind", ["lora", "unprojected", "unprojected, added twice"])
def test_a_lora_is_its_own_export_and_its_truncation_needs_no_dense_matrix(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = net([LIKE_PEFTS[kind]])
    deltas = [layer.effective_weight(0) - layer.weight for layer in adapted_layers(model).values()]
    wanted = outputs(model)
    monkeypatch.setattr("d2lora.layers.adapted.AdaptedLinear.effective_weight", None)  # calling it would fail
    exact = d2lora.to_lora(model)
    assert exact.error == 0
    assert exact.config["r"] == (2 if kind == "lora" else 4)
    smaller = d2lora.to_lora(model, rank=1)
    values = [torch.linalg.svdvals(delta) for delta in deltas]
    lost, whole = sum(v[1:].square().sum() for v in values), sum(v.square().sum() for v in values)
    assert smaller.error == pytest.approx(float((lost / whole).sqrt()), rel=1e-4)
    assert d2lora.to_lora(model, energy=1.0).error < 1e-5
    exact.save(tmp_path, base="somebody/model")
    assert json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"] == "somebody/model"
    assert exact.config["lora_alpha"] == exact.config["r"]
    wrapped = peft.PeftModel.from_pretrained(Net(), tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(wrapped(X), wanted, **EXACT)
