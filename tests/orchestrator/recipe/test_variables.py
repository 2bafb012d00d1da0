"""Variables of trainers in a recipe: what anybody may read; a secret is refused with the way that keeps it one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.errors import InputError
from orchestrator.recipe.read import read_recipe

RECIPE = "name: own\ntasks: [boolq]\nmethods: [lora]\nseeds: [0]\n"


def env(tmp_path: Path, values: Any) -> dict[str, str]:
    path = tmp_path / "own.yaml"
    path.write_text(RECIPE + yaml.safe_dump({"cluster": {"env": values}}))
    return read_recipe(path).cluster.env


def test_values_are_text_whatever_yaml_takes_them_for(tmp_path: Path) -> None:
    given = {"NCCL_DEBUG": "INFO", "NCCL_IB_DISABLE": 1, "GAIN": 0.5, "TOKENIZERS_PARALLELISM": "false"}
    assert env(tmp_path, given) == {**given, "NCCL_IB_DISABLE": "1", "GAIN": "0.5"}
    assert env(tmp_path, {}) == {}


SECRETS = [
    *(
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "WANDB_API_KEY",
        "MY_PASSWORD",
    ),
    *("GOOGLE_APPLICATION_CREDENTIALS", "openai_apikey", "PGPASSWORD", "PRIVATE_KEY", "BASIC_AUTH", "hf_token"),
    *("OPENAI_KEY", "GITHUB_PAT", "DB_PWD", "SMTP_PASS"),
]


@pytest.mark.parametrize("name", SECRETS)
def test_a_name_that_looks_like_a_secret_is_refused_and_its_value_is_not_shown(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"own\.yaml:\d+: cluster\.env.*{name} looks like a secret") as refused:
        env(tmp_path, {"NCCL_DEBUG": "INFO", name: "hunter2"})
    assert "export it where the driver starts" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert env(tmp_path, {"NCCL_DEBUG": "INFO"})


@pytest.mark.parametrize("value", ["hf_" + "a1" * 15, "ghp_" + "b2" * 18, "AKIA" + "C3" * 8])
def test_a_value_that_is_a_key_is_refused_whatever_its_name_and_is_not_shown(tmp_path: Path, value: str) -> None:
    with pytest.raises(InputError, match="INNOCENT looks like a secret") as refused:
        env(tmp_path, {"INNOCENT": value})
    assert value not in str(refused.value)
    assert env(tmp_path, {"KEYS_OF_NCCL": "x", "PATH_OF_DATA": "/hf_models", "COMPASS": "n"})


@pytest.mark.parametrize("word", ["cluster.env.HF_TOKEN=hunter2", "cluster.env={HF_TOKEN: hunter2}"])
def test_a_secret_on_the_command_line_is_refused_and_not_shown(tmp_path: Path, word: str) -> None:
    env(tmp_path, {})
    with pytest.raises(InputError, match=r"cluster\.env: HF_TOKEN looks like a secret") as refused:
        read_recipe(tmp_path / "own.yaml", [word])
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"OMP_NUM_THREADS": 2}, r"cluster\.cpus_per_worker decides it\. Leave it out"),
        ({"RAY_ADDRESS": "x"}, r"it is of Ray\. Leave it out"),
        ({"A B": "x"}, "no name of a variable"),
        ({"A": True}, r"write it in quotes"),
        ({"A": [1]}, r"write it in quotes"),
        ({"A": "x" * 5000}, "5,000 characters"),
        ({"PROXY": "http://ann:hunter2@host"}, "an address with a password"),
        ({f"A{number}": "" for number in range(101)}, "101 variables are more than 100"),
        ([1], "dictionary|mapping|object"),
    ],
)
def test_what_is_no_variable_for_trainers_is_refused(tmp_path: Path, values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        env(tmp_path, values)
    assert "cluster.env" in str(refused.value)
    assert "hunter2" not in str(refused.value)
