"""Files of a base: what is broken is named with what to do, and what is loaded is what was hashed."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from orchestrator.base.files import stored_weights
from orchestrator.base.source import resolve_base
from orchestrator.errors import InputError
from orchestrator.model.loading import load_model
from orchestrator.recipe.sections import ModelSpec
from tests.helpers.models.tiny_llama import tiny_llama

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture
def single(tmp_path: Path) -> Path:
    """A base of one file."""
    tiny_llama().save_pretrained(tmp_path / "single")  # type: ignore[operator]
    return tmp_path / "single"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A base of several files."""
    tiny_llama().save_pretrained(tmp_path / "shards", max_shard_size="8KB")  # type: ignore[operator]
    assert (tmp_path / "shards" / INDEX).is_file()
    return tmp_path / "shards"


def cut(share: float) -> Callable[[Path], None]:
    return lambda file: file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])


def header(content: object) -> Callable[[Path], None]:
    text = json.dumps(content).encode()
    return lambda file: file.write_bytes(struct.pack("<Q", len(text)) + text)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "a git-lfs pointer": (
        lambda file: file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 269060552\n"),
        "is a git-lfs pointer, not the file itself. Run `git lfs pull`",
    ),
    "a cut file": (cut(0.6), "is cut short: its header promises"),
    "a file cut within its header": (cut(0.01), "is cut short within its header"),
    "an empty file": (lambda file: file.write_bytes(b""), "is not a safetensors file: it does not begin with a header"),
    "a file with more behind": (lambda file: file.write_bytes(file.read_bytes() + b"0"), "is too long: its header"),
    "a web page": (lambda file: file.write_text("<!DOCTYPE html>" * 20), "does not begin with a header"),
    "a header of a list": (header([1]), "its header is damaged"),
    "a header of numbers": (header({"w": 5}), "its header is damaged"),
    "a header without places": (header({"w": {"dtype": "F32", "shape": [1]}}), "its header is damaged"),
    "a shape that is not its bytes": (
        header({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}),
        "[3] of F32 are not 8 bytes",
    ),
    "no tensor": (header({}), "holds no tensor"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_with_what_is_wrong(name: str, single: Path) -> None:
    harm, told = BROKEN[name]
    whole = (single / SINGLE).read_bytes()
    harm(single / SINGLE)
    with pytest.raises(InputError, match=f"{single / SINGLE} .*") as caught:
        stored_weights(single)
    assert told in str(caught.value)
    (single / SINGLE).write_bytes(whole)  # fetched again
    assert stored_weights(single).dtype == "F32"


@pytest.mark.parametrize("name", ["a git-lfs pointer", "a cut file", "an empty file"])
def test_a_broken_shard_is_named_too(name: str, shards: Path) -> None:
    harm, told = BROKEN[name]
    shard = sorted(shards.glob("model-*.safetensors"))[1]
    harm(shard)
    with pytest.raises(InputError, match=rf"{shard.name}") as caught:
        stored_weights(shards)
    assert told in str(caught.value)


def test_a_shard_that_is_not_there_is_named(shards: Path) -> None:
    shard = sorted(shards.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(InputError, match=rf"{INDEX} names \d+ files, and 1 of them are not there: {shard.name}"):
        stored_weights(shards)


def test_a_shard_of_another_model_is_named(shards: Path) -> None:
    first, second = sorted(shards.glob("model-*.safetensors"))[:2]
    shutil.copyfile(first, second)
    with pytest.raises(InputError, match=rf"{second.name} does not hold .*, which {INDEX} promises there"):
        stored_weights(shards)


@pytest.mark.parametrize("content", ["5", "[]", "{}", "not json", '{"weight_map": 5}', '{"weight_map": {"a": 5}}'])
def test_an_index_that_says_nothing_is_refused(content: str, shards: Path) -> None:
    (shards / INDEX).write_text(content)
    with pytest.raises(InputError, match=f"{INDEX} .*weight_map"):
        stored_weights(shards)


def test_what_is_hashed_is_what_is_loaded(single: Path, tmp_path: Path) -> None:
    """Weights for another library beside a file of another name: transformers would load them."""
    torch.save(tiny_llama().state_dict(), single / "pytorch_model.bin")
    (single / SINGLE).rename(single / "unrelated.safetensors")
    with pytest.raises(
        InputError, match=r"model\.safetensors .* are needed, there is .*Weights in \*\.bin are not read"
    ):
        resolve_base(ModelSpec(path=str(single)), tmp_path)


def test_other_files_beside_the_weights_change_nothing(single: Path, tmp_path: Path) -> None:
    before = resolve_base(ModelSpec(path=str(single)), tmp_path)
    (single / "x.json").write_text("5")
    (single / "unrelated.safetensors").write_text("anything")
    assert resolve_base(ModelSpec(path=str(single)), tmp_path) == before


def test_other_bytes_with_the_same_size_and_times_are_another_base(single: Path, tmp_path: Path) -> None:
    weights = single / SINGLE
    before, times = resolve_base(ModelSpec(path=str(single)), tmp_path), weights.stat()
    save_file({name: 2 * one for name, one in load_file(weights).items()}, tmp_path / "other", {"format": "pt"})
    weights.write_bytes((tmp_path / "other").read_bytes())
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (weights.stat().st_size, weights.stat().st_mtime_ns) == (times.st_size, times.st_mtime_ns)
    assert resolve_base(ModelSpec(path=str(single)), tmp_path).fingerprint != before.fingerprint


def test_shards_and_one_file_are_both_loaded(single: Path, shards: Path) -> None:
    for name, tensor in load_model(single).state_dict().items():
        assert torch.equal(load_model(shards).state_dict()[name], tensor)


QUANTISED = {"quant_method": "gptq", "bits": 4}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"quantization_config": QUANTISED}, r"quantization_config \(gptq\).* Take the model that was quantised"),
        ({"text_config": {"quantization_config": QUANTISED}}, r"quantization_config \(gptq\)"),
        ({"quantization_config": "awq"}, r"quantization_config \(awq\)"),
        ({"quantization_config": {}}, r"quantization_config \(None\)"),
        ({"transformers_weights": "other.safetensors"}, r"transformers_weights='other.safetensors'.*Remove the key"),
    ],
)
def test_a_config_whose_weights_are_others_is_refused(change: object, told: str, single: Path, tmp_path: Path) -> None:
    config = json.loads((single / "config.json").read_text())
    (single / "config.json").write_text(json.dumps(config | dict(change)))  # type: ignore[call-overload]
    with pytest.raises(InputError, match=told):
        resolve_base(ModelSpec(path=str(single)), tmp_path)
    (single / "config.json").write_text(json.dumps(config))
    resolve_base(ModelSpec(path=str(single)), tmp_path)


def test_an_adapter_beside_the_weights_is_refused(single: Path, tmp_path: Path) -> None:
    (single / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds an adapter.*would be loaded on top.*move the adapter's files"):
        resolve_base(ModelSpec(path=str(single)), tmp_path)


@pytest.mark.parametrize("content", ["5", "[1]", "", "version https://git-lfs.github.com/spec/v1\n"])
def test_a_config_that_is_no_mapping_is_refused(content: str, single: Path, tmp_path: Path) -> None:
    (single / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json is (not JSON with names|a git-lfs pointer)"):
        resolve_base(ModelSpec(path=str(single)), tmp_path)


@pytest.mark.parametrize("name", ["generation_config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ["5", '{"cut": ', "version https://git-lfs.github.com/spec/v1\n"])
def test_a_damaged_file_beside_the_weights_is_named(name: str, content: str, single: Path, tmp_path: Path) -> None:
    (single / name).write_text(content)
    with pytest.raises(InputError, match=rf"{single / name} is (not JSON|a git-lfs pointer)"):
        resolve_base(ModelSpec(path=str(single)), tmp_path)
    (single / name).unlink()
    resolve_base(ModelSpec(path=str(single)), tmp_path)


def test_a_link_to_nothing_is_named(single: Path, tmp_path: Path) -> None:
    (single / SINGLE).unlink()
    (single / SINGLE).symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"model\.safetensors is a link to nothing"):
        resolve_base(ModelSpec(path=str(single)), tmp_path)


def test_a_revision_belongs_to_a_hub_id() -> None:
    assert ModelSpec(name="someone/model", revision="v1.0").revision == "v1.0"
    for other in ({"name": "tiny"}, {"name": "someone/model", "path": "here"}):
        with pytest.raises(ValueError, match=r"revision=v1 is of a hub id, and this is .*: leave revision out"):
            ModelSpec(revision="v1", **other)


def test_the_hub_is_asked_for_the_revision_and_for_chat_templates(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def snapshot(name: str, **options: object) -> str:
        asked.update(options, name=name)
        return str(single)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    resolve_base(ModelSpec(name="someone/model", revision="v1.0"), tmp_path)
    assert (asked["name"], asked["revision"]) == ("someone/model", "v1.0")
    assert "*.jinja" in list(asked["allow_patterns"])  # type: ignore[call-overload]
