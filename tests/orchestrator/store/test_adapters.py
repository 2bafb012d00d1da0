"""Adapters on disk: read back as written, or one typed error."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

import d2lora
from orchestrator.errors import RunError
from orchestrator.store.adapters import DESCRIPTION, TENSORS, load_adapter, save_adapter
from tests.helpers.models.tiny_llama import tiny_llama

ABOUT: dict[str, Any] = {
    "method": "lora",
    "config": {"rank": 2},
    "layers": {"q": [4, 3]},
    "base": "b" * 64,
    "targets": "q",
}


def state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"q.up": torch.randn(4, 2, generator=generator), "q.down": torch.randn(2, 3, generator=generator)}


def saved(folder: Path) -> Path:
    save_adapter(folder, state(), ABOUT)
    return folder


def refused(folder: Path, message: str) -> None:
    with pytest.raises(RunError, match=message) as caught:
        load_adapter(folder, ABOUT["base"])
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_an_adapter_comes_back_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    meant = {name: tensor.to(dtype) for name, tensor in state().items()}
    save_adapter(tmp_path, meant, ABOUT)
    adapter = load_adapter(tmp_path, ABOUT["base"])
    assert adapter.description == ABOUT
    assert adapter.state.keys() == meant.keys()
    for name, tensor in meant.items():
        assert adapter.state[name].dtype == dtype
        assert torch.equal(adapter.state[name], tensor)


def test_a_view_of_a_larger_tensor_is_saved_as_itself(tmp_path: Path) -> None:
    stacked = torch.arange(24.0).reshape(3, 4, 2)
    save_adapter(tmp_path, {"up": stacked[1], "down": stacked[2].T}, ABOUT)
    tensors = load_adapter(tmp_path, ABOUT["base"]).state
    assert torch.equal(tensors["up"], stacked[1])
    assert torch.equal(tensors["down"], stacked[2].T)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({}, "without tensors"),
        ({"up": torch.empty(0)}, "up is empty, as one read while ZeRO-3 had it scattered"),
        ({"up": torch.tensor([1.0, float("nan")])}, "up is not finite"),
        ({"up": torch.tensor([float("-inf")], dtype=torch.bfloat16)}, "up is not finite"),
    ],
)
def test_what_is_no_adapter_is_neither_saved_nor_loaded(tmp_path: Path, bad: dict[str, Tensor], message: str) -> None:
    with pytest.raises(RunError, match=message):
        save_adapter(tmp_path / "new", bad, ABOUT)
    assert not (tmp_path / "new").exists()
    saved(tmp_path)
    (tmp_path / TENSORS).write_bytes(save(bad))
    refused(tmp_path, message)


def test_an_adapter_of_another_base_is_refused_with_both(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"another base \(bbbbbbbbbbbb, not cccccccccccc\): give the model"):
        load_adapter(saved(tmp_path), "c" * 64)


@pytest.mark.parametrize("name", [TENSORS, DESCRIPTION])
def test_a_missing_or_empty_file_is_named(tmp_path: Path, name: str) -> None:
    saved(tmp_path)
    (tmp_path / name).write_bytes(b"")
    refused(tmp_path, name)
    (tmp_path / name).unlink()
    refused(tmp_path, name)


def test_the_library_reads_a_run_s_adapter(tmp_path: Path) -> None:
    model = d2lora.attach(
        nn.ModuleDict({"q": nn.Linear(3, 4)}), "lora", d2lora.get_method("lora").Config(rank=2), ["q"]
    )
    described = d2lora.describe_adapter(model) | {"base": "b" * 64, "targets": "q"}
    save_adapter(tmp_path, state(), described)
    d2lora.load(model, tmp_path)
    assert all(torch.equal(value, state()[name]) for name, value in d2lora.adapter_state(model).items())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT asks transformers
@pytest.mark.parametrize(
    ("method", "settings"),
    [("lora", {}), ("dora", {}), ("d2lora", {"readd": 0}), ("d2lora", {"projection": "off", "tau": "learned"})],
)
def test_peft_gives_the_logits_of_a_language_model_with_our_adapter(
    method: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft", reason="peft is a development dependency")
    base, model = tiny_llama().eval(), tiny_llama().eval()
    d2lora.attach(
        model, method, d2lora.get_method(method).Config(rank=3, **settings), ["q_proj", "v_proj", "down_proj"]
    )
    generator = torch.Generator().manual_seed(1)
    ids = torch.arange(24).view(2, 12)
    with torch.no_grad():
        for parameter in d2lora.adapter_parameters(model).values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        before, wanted = base(input_ids=ids).logits, model(input_ids=ids).logits
        assert (wanted - before).abs().max() > 0.01
        d2lora.save(model, tmp_path)
        wrapped = peft.PeftModel.from_pretrained(base, tmp_path)
        assert type(wrapped) is peft.PeftModelForCausalLM
        torch.testing.assert_close(wrapped(input_ids=ids).logits, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("missing", ["method", "config", "layers", "base"])
def test_a_description_that_lacks_something_is_refused(tmp_path: Path, missing: str) -> None:
    saved(tmp_path)
    (tmp_path / DESCRIPTION).write_text(json.dumps({key: value for key, value in ABOUT.items() if key != missing}))
    refused(tmp_path, "no adapter's description")


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    content = (saved(tmp_path) / TENSORS).read_bytes()
    for length in range(len(content)):
        (tmp_path / TENSORS).write_bytes(content[:length])
        refused(tmp_path, "cannot be read|without tensors")


@pytest.mark.parametrize("size", [0, 1, 2**31, 2**63, 2**64 - 1])
def test_a_header_of_a_wrong_size_is_refused(tmp_path: Path, size: int) -> None:
    content = (saved(tmp_path) / TENSORS).read_bytes()
    (tmp_path / TENSORS).write_bytes(size.to_bytes(8, "little") + content[8:])
    refused(tmp_path, "cannot be read")


@pytest.mark.parametrize(
    "header",
    [
        b"{", b"[]", b"null", b'{"up": 1}', b'{"up": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        b'{"up": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}',
        b'{"up": {"dtype": "F32", "shape": [99999999999], "data_offsets": [0, 4]}}',
        b'{"up": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"up": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, '
        b'"down": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
    ],
)  # fmt: skip
def test_a_header_that_lies_is_refused(tmp_path: Path, header: bytes) -> None:
    saved(tmp_path)
    (tmp_path / TENSORS).write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    refused(tmp_path, "cannot be read")


def test_a_flipped_header_is_a_typed_error_or_other_names_and_never_anything_else(tmp_path: Path) -> None:
    """What still loads has other names, shapes or types, which `load_adapter_state` and the manifest refuse."""
    content = (saved(tmp_path) / TENSORS).read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    draw, loaded = random.Random(0), 0
    for _ in range(200):
        where = draw.randrange(end)
        flipped = content[:where] + bytes([content[where] ^ 1 << draw.randrange(8)]) + content[where + 1 :]
        (tmp_path / TENSORS).write_bytes(flipped)
        try:
            tensors = load_adapter(tmp_path, ABOUT["base"]).state
        except RunError:
            continue
        loaded += 1
        shapes = {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}
        assert shapes != {name: (tensor.dtype, tensor.shape) for name, tensor in state().items()}
    assert loaded < 100


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    saved(tmp_path)
    (tmp_path / TENSORS).write_bytes(pickle.dumps(_Canary(canary)))
    refused(tmp_path, "cannot be read")
    assert not canary.exists()


class _Canary:
    """Touches a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)
