"""Keys of DeepSpeed's own: what lanes leave free is taken, all else is refused with its reason and the remedy."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import InputError
from orchestrator.plan.runs import expand, keyed
from orchestrator.recipe.deepspeed import FORBIDDEN, DeepSpeedSpec, ZeroOptions
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.spec import SweepSpec

RECIPE = "name: own\ntasks: [boolq]\nmethods: [lora]\nseeds: [0]\n"
GOOD = {
    "zero_optimization": {
        "reduce_bucket_size": 5e7,
        "overlap_comm": True,
        "offload_optimizer": {"device": "cpu", "pin_memory": True},
    },
    "wall_clock_breakdown": False,
}


def read(tmp_path: Path, content: Any, *words: str) -> SweepSpec:
    (tmp_path / "ds.json").write_text(content if isinstance(content, str) else json.dumps(content))
    (tmp_path / "own.yaml").write_text(RECIPE)
    return read_recipe(tmp_path / "own.yaml", [f"engine.deepspeed={tmp_path}/ds.json", *words])


def test_a_file_and_the_keys_themselves_are_the_same(tmp_path: Path) -> None:
    spec = read(tmp_path, GOOD)
    own = spec.engine.deepspeed
    assert own is not None
    assert own.zero_optimization is not None
    assert own.zero_optimization.reduce_bucket_size == 50_000_000
    (tmp_path / "own.yaml").write_text(f"{RECIPE}engine: {{deepspeed: {json.dumps(GOOD)}}}\n")
    assert read_recipe(tmp_path / "own.yaml") == spec
    assert spec.trained_by.kind == "zero"  # one worker, but a key of DeepSpeed is named
    assert SweepSpec.model_validate(spec.model_dump()) == spec  # as sweep.json holds it
    word = "engine.deepspeed.zero_optimization.reduce_bucket_size=7"
    assert read_recipe(tmp_path / "own.yaml", [word]).engine.deepspeed == DeepSpeedSpec(
        zero_optimization=own.zero_optimization.model_copy(update={"reduce_bucket_size": 7}), wall_clock_breakdown=False
    )


def test_no_run_key_knows_of_it(tmp_path: Path) -> None:
    with_it = expand(read(tmp_path, GOOD))
    without = expand(read_recipe(tmp_path / "own.yaml"))
    assert keyed(with_it, "base", {"boolq": "data"}) == keyed(without, "base", {"boolq": "data"})


@pytest.mark.parametrize("key", sorted(FORBIDDEN))
def test_each_forbidden_key_is_refused_by_name_with_its_reason(tmp_path: Path, key: str) -> None:
    inner = {"zero_optimization": {key: 1}}
    for content, name in (({key: 1}, key), (inner, f"zero_optimization.{key}")):
        with pytest.raises(InputError) as refused:
            read(tmp_path, content)
        assert str(refused.value) == (f"{tmp_path}/ds.json: {name} cannot be set: {FORBIDDEN[key]}. Leave it out.")
    assert read(tmp_path, {}).engine.deepspeed == DeepSpeedSpec()  # the remedy


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"zero_optimisation": {}}, r"Unknown key 'zero_optimisation'. Did you mean 'zero_optimization'\?"),
        (
            {"zero_optimization": {"reduce_bucket_sise": 1}},
            r"reduce_bucket_sise: Unknown key .*Did you mean 'reduce_bucket_size'\?",
        ),
        (
            {"zero_optimization": {"offload_param": {"devise": "cpu"}}},
            r"devise: Unknown key .*Did you mean 'device'",
        ),
        ({"zero_optimization": {"reduce_bucket_size": "auto"}}, "auto is a word of another trainer"),
        ({"zero_optimization": {"reduce_bucket_size": "many"}}, "reduce_bucket_size: Input should be a valid integer"),
        ({"zero_optimization": {"reduce_bucket_size": 0.5}}, "reduce_bucket_size: Input should be a valid integer"),
        ({"zero_optimization": {"reduce_bucket_size": -1}}, "greater than or equal to 0"),
        ({"zero_optimization": {"offload_optimizer": {"device": "nvme"}}}, "Input should be 'cpu' or 'none'"),
        ({"zero_optimization": 3}, "zero_optimization holds keys"),
        ("[1]", "is the path of a JSON file, or its keys"),
        ("{", "not JSON that can be used"),
        ('{"dump_state": true, "dump_state": false}', "the key 'dump_state' stands twice"),
        ("[" * 100_000, "not JSON|more than 100,000 bytes"),
        (" " * 200_000, "more than 100,000 bytes"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_place(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read(tmp_path, content)
    assert f"{tmp_path}/ds.json" in str(refused.value)


@pytest.mark.parametrize(
    ("words", "message", "remedy"),
    [
        (["engine.kind=plain"], "kind=plain trains without DeepSpeed", ["engine.kind=zero"]),
        (["engine.stage=0"], "offload_optimizer needs a stage that shards", ["engine.stage=1"]),
    ],
)
def test_an_engine_that_cannot_do_it_is_refused(
    tmp_path: Path, words: list[str], message: str, remedy: list[str]
) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, GOOD, *words)
    assert read(tmp_path, GOOD, *remedy).engine.deepspeed is not None


def test_a_base_is_moved_to_the_host_only_where_it_is_scattered(tmp_path: Path) -> None:
    content = {"zero_optimization": {"offload_param": {"device": "cpu"}}}
    with pytest.raises(InputError, match=r"stage 2 keeps it whole: engine\.stage=3"):
        read(tmp_path, content)
    own = read(tmp_path, content, "engine.stage=3").engine.deepspeed
    assert own is not None
    assert (own.options(base=True), own.options(base=False)) == ({"offload_param": {"device": "cpu"}}, {})


@pytest.mark.parametrize("name", ["gone.json", "pipe", "~nobody-at-all/x.json", "a" * 300, "/dev/zero", "."])
def test_a_file_that_is_not_there_is_told_and_a_pipe_is_not_waited_for(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "own.yaml").write_text(RECIPE)
    with pytest.raises(InputError, match=r"argument 'engine\.deepspeed=.*: there is no such file\."):
        read_recipe(tmp_path / "own.yaml", [f"engine.deepspeed={name}"])


def test_keys_within_a_recipe_are_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"{RECIPE}engine:\n  deepspeed: {{fp16: {{enabled: true}}}}\n")
    with pytest.raises(InputError, match=r"own\.yaml:6: engine\.deepspeed\.fp16 cannot be set: model\.dtype decides"):
        read_recipe(tmp_path / "own.yaml")


def test_deepspeed_itself_knows_every_key_that_is_taken() -> None:
    """A key that DeepSpeed has dropped would be ignored in silence."""
    text = Path(_deepspeed(), "runtime", "zero", "config.py").read_text()
    for key in ZeroOptions.model_fields:
        assert f"    {key}: " in text or f'alias="{key}"' in text, key
    constants = Path(_deepspeed(), "runtime", "constants.py").read_text()
    for key in set(DeepSpeedSpec.model_fields) - {"zero_optimization"}:
        assert f"= '{key}'" in constants, key


def _deepspeed() -> Path:
    from importlib.util import find_spec

    spec = find_spec("deepspeed")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
