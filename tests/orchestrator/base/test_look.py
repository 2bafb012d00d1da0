"""The look at the base: before anything starts, told in lines, remembered until something that decides it changes."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from orchestrator.base import look as base_look
from orchestrator.driver.prepare import ReadySweep, make_ready
from orchestrator.errors import InputError
from orchestrator.files import read_json
from orchestrator.recipe.read import read_recipe
from tests.helpers.models.architectures import architecture


class Looks:
    """Prepare a recipe, and count how often the base is loaded for it."""

    def __init__(self, recipe: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.recipe, self.base, self.loaded = recipe, base, 0
        self.lines: list[str] = []
        load = base_look.load_model

        def counted(*args: Any) -> Any:
            self.loaded += 1
            return load(*args)

        monkeypatch.setattr(base_look, "load_model", counted)

    def __call__(self, *words: str) -> ReadySweep:
        self.lines = []
        spec = read_recipe(self.recipe, [f"model.path={self.base}", *words])
        return make_ready(spec, self.recipe.parent / ".cache", self.lines.append)

    def told(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def look(recipe: Path, small_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(recipe, shutil.copytree(small_base, tmp_path / "base"), monkeypatch)


def change(base: Path, name: str = "config.json", **values: Any) -> None:
    content = json.loads((base / name).read_text())
    (base / name).write_text(json.dumps(content | values))


def replace(look: Looks, name: str) -> None:
    """Make of the base another architecture, with as many rows in its embedding as the tokenizer has tokens."""
    rows = read_json(look.base / "config.json")["vocab_size"]
    architecture(name, vocab_size=rows).save_pretrained(look.base)  # type: ignore[operator]


def test_a_whole_base_shares_prompts_and_takes_blocks_without_a_word(look: Looks) -> None:
    ready = look()
    assert (ready.shortcuts.share, ready.shortcuts.blocks, ready.shortcuts.remarks) == (True, True, ())
    assert all("rows" in line for line in look.lines)


def test_a_look_is_remembered_until_what_decides_it_changes(look: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    first = look()
    assert (look().shortcuts, look.loaded) == (first.shortcuts, 1)
    look("optim.lr=1e-3", "seeds=[7]")
    assert look.loaded == 1
    for number, words in enumerate((["model.dtype=bfloat16"], ["data.max_length=32"], ["model.targets=mlp"]), 2):
        look(*words)
        assert look.loaded == number
    save_file({name: 2 * one for name, one in load_file(look.base / "model.safetensors").items()}, look.base / "new")
    (look.base / "new").replace(look.base / "model.safetensors")
    look()
    assert look.loaded == 5
    monkeypatch.setattr(base_look, "FORMAT", base_look.FORMAT + 1)
    look()
    assert look.loaded == 6
    monkeypatch.setattr(base_look, "version", lambda name: f"{name} of tomorrow")
    look()
    assert look.loaded == 7


def test_an_end_that_is_trained_is_looked_at_by_itself(look: Looks) -> None:
    """Rows far shorter than data.max_length have the same tokens with it and without."""
    look()
    look("data.append_eos=true")
    assert look.loaded == 2
    look("data.append_eos=true")
    assert look.loaded == 2


def test_a_damaged_memory_is_looked_for_again(look: Looks) -> None:
    first = look()
    (memory,) = (look.recipe.parent / ".cache" / "looks").iterdir()
    for content in ("5", "{}", '{"share": true}', "cut"):
        memory.write_text(content)
        assert look().shortcuts == first.shortcuts
    assert look.loaded == 5


def test_lines_are_told_again_when_they_are_remembered(look: Looks) -> None:
    replace(look, "mistral")
    assert not look().shortcuts.share
    first = look.told()
    assert "every choice is computed with a prompt of its own: some layers look back 9 tokens, and the longest" in first
    look()
    assert look.loaded == 1
    assert look.told() == first


def test_a_look_that_takes_long_says_so_while_it_lasts_and_a_short_one_does_not(
    look: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    look()
    assert "looking at the base" not in look.told()
    load = base_look.load_model

    def slow(*args: Any) -> Any:
        time.sleep(0.2)
        return load(*args)

    monkeypatch.setattr(base_look, "load_model", slow)
    monkeypatch.setattr(base_look, "PATIENCE", 0.05)
    look("data.max_length=32")
    assert look.lines[-2].startswith("looking at the base (once)")
    assert look.lines[-1].startswith("looked at the base in ")


def test_on_gpus_no_blocks_are_tried(look: Looks) -> None:
    assert not look("cluster.gpus_per_worker=1", "cluster.kind=ray").shortcuts.blocks


@pytest.mark.parametrize(
    ("stored", "words", "told"),
    [
        ("float16", [], "the base is stored in float16, it is trained in float32, and champions are float32"),
        ("bfloat16", ["model.dtype=bfloat16"], ""),
        ("float32", ["model.dtype=bfloat16"], "stored in float32, it is trained in bfloat16, and champions are bfl"),
    ],
)
def test_a_change_of_type_is_told(look: Looks, stored: str, words: list[str], told: str) -> None:
    weights = look.base / "model.safetensors"
    save_file({name: one.to(getattr(torch, stored)) for name, one in load_file(weights).items()}, weights)
    look(*words)
    assert told in look.told()
    assert ("is stored in" in look.told()) == bool(told)


def test_code_that_a_base_brings_is_not_run_where_transformers_has_the_architecture(look: Looks) -> None:
    (look.base / "evil.py").write_text("raise SystemExit('run')")
    for name in ("config.json", "tokenizer_config.json"):
        change(look.base, name, auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"})
    look()
    remark = (
        "the base brings code (config.json, tokenizer_config.json has auto_map), which is not run: transformers has"
    )
    assert remark in look.told()


def test_a_base_that_needs_its_own_code_is_refused(look: Looks) -> None:
    change(look.base, auto_map={"AutoConfig": "evil.Config"}, model_type="evil")
    with pytest.raises(InputError, match=r"needs code of its own \(config\.json has auto_map\).*no model_type 'evil'"):
        look()


@pytest.mark.parametrize("values", [{"num_return_sequences": 4}, {"max_new_tokens": -1}, {"cache_implementation": "z"}])
@pytest.mark.parametrize("remedy", ["correct", "remove"])
def test_a_faulty_generation_config_is_named_and_not_the_base(look: Looks, values: Any, remedy: str) -> None:
    file = look.base / "generation_config.json"
    file.write_text(json.dumps(values))
    with pytest.raises(InputError) as caught:
        look()
    told = str(caught.value)
    assert told.startswith(f"{file} cannot be used: ValueError: ")
    assert next(iter(values)) in told
    assert "correct that file or remove it" in told
    assert "take another base" not in told
    file.write_text("{}") if remedy == "correct" else file.unlink()
    look()


def test_a_base_that_cannot_be_loaded_is_blamed_itself_beside_a_sound_generation_config(
    look: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("rope")

    (look.base / "generation_config.json").write_text('{"do_sample": true, "temperature": 0.5}')
    monkeypatch.setattr(base_look, "load_model", broken)
    with pytest.raises(InputError, match=r"cannot be loaded: KeyError: 'rope'.*or take another base"):
        look()


@pytest.mark.parametrize("kind", ["int32", "uint8", "float8_e4m3fn"])
def test_weights_of_quantised_types_are_refused_whatever_the_config_says(look: Looks, kind: str) -> None:
    weights = look.base / "model.safetensors"
    save_file({name: one.to(getattr(torch, kind)) for name, one in load_file(weights).items()}, weights)
    with pytest.raises(InputError, match=r"holds weights in (I32|U8|F8_E4M3), which are quantised"):
        look()


def test_a_token_beyond_the_embedding_ends_before_anything_starts(look: Looks) -> None:
    rows = read_json(look.base / "config.json")["vocab_size"]
    architecture("llama", vocab_size=rows // 2).save_pretrained(look.base)  # type: ignore[operator]
    with pytest.raises(
        InputError, match=rf"has token \d+ \('.*'\), and the embedding of LlamaForCausalLM has {rows // 2}"
    ):
        look()
    architecture("llama", vocab_size=rows).save_pretrained(look.base)  # type: ignore[operator]
    look()
