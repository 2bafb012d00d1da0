"""An address is judged by its form: each refusal says what to write, and that is taken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.addresses import fault_of, without_secrets
from orchestrator.errors import InputError
from orchestrator.recipe.environment import VARIABLE, passed_over
from orchestrator.recipe.read import read_recipe
from tests.helpers.sweeps import run

TAKEN = ["none", "sqlite:///mlflow.db", "sqlite:////a b/ä#c.db", "sqlite:///x.db?timeout=5", "http://h:5000/base"]
TAKEN += ["https://h", "http://[::1]:5000", "http://ann:secret@h:5000", "postgresql+psycopg2://u:p@h/d", "mysql://h/d"]
TAKEN += ["databricks", "databricks://profile"]
INSTEAD = {
    "./mlruns": "sqlite:///mlruns/mlflow.db",
    "file:./mlruns": "sqlite:///mlruns/mlflow.db",
    "file:///data/mlruns": "sqlite:////data/mlruns/mlflow.db",
    "uc": "sqlite:///uc/mlflow.db",
    "C:\\runs": "sqlite:///C:\\runs/mlflow.db",
    "mlflow.db": "sqlite:///mlflow.db",
    "a%b?/x.sqlite": "sqlite:///a%25b%3F/x.sqlite",
    "sqlite://mlflow.db": "sqlite:///mlflow.db",
    "sqlite:mlflow.db": "sqlite:///mlflow.db",
    "sqlite://///x.db": "sqlite:////x.db",
    "sqlite:///a?b/x.db": "sqlite:///a%3Fb/x.db",
    "sqlite:///:memory:": "sqlite:///mlflow.db",
    "sqlite:///runs/": "sqlite:///runs/mlflow.db",
    "SQLITE://x.db": "sqlite:///x.db",
    "localhost:5000": "http://localhost:5000",
    "10.0.0.1": "http://10.0.0.1",
    "[::1]:5000": "http://[::1]:5000",
    "//h:5000": "http://h:5000",
    "ann:secret@h:5000": "http://h:5000",
    "http:/h:5000": "http://h:5000",
    "http://h:99999": "http://h:5000",
    "http://h:5000/#/experiments/1": "http://h:5000",
    "http://h?token=secret": "http://h",
    "postgres://ann:secret@h/d": "postgresql://h/d",
    "s3://bucket/runs": "sqlite:///mlflow.db",
    "memory": "none",
    "": "none",
    " http://h": "http://h",
}


@pytest.mark.parametrize("address", TAKEN)
def test_an_address_of_mlflow_is_taken(address: str) -> None:
    assert fault_of(address) is None


@pytest.mark.parametrize(("address", "instead"), INSTEAD.items())
def test_an_address_that_is_none_names_the_nearest_which_is_taken(address: str, instead: str) -> None:
    fault = fault_of(address) or ""
    advice = re.search(r"(?i:write) (.+?)(?=\.$|,| for | without |$)", fault)
    assert advice, fault
    assert instead in fault
    assert "secret" not in fault
    assert fault_of(instead) is None


def test_the_advice_of_a_refusal_is_a_sweep_that_ends_with_0(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("tasks=[tiny_recall]", "methods=[lora]", "seeds=[0]", "champions=false")
    with pytest.raises(InputError, match=r"argument 'tracking.uri=\./mlruns'.* write (\S+)") as refused:
        run(recipe, *words, "tracking.uri=./mlruns")
    (advice,) = re.findall(r"write (\S+)", str(refused.value))
    code, told, _ = run(recipe, *words, f"tracking.uri={advice}")
    assert code == 0, told
    assert (tmp_path / "mlruns/mlflow.db").exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tracking.uri=http://ann:secret@h:1/p?token=secret", "tracking.uri=http://h:1/p"),
        ("a 'http://ann:secret@h' name=x@y", "a 'http://h' name=x@y"),
        ("http://ann:se cret/secret#@h", "http://h"),
        ("http://secret@h, then http://h", "http://h, then http://h"),
        ("{uri: 'ann:secret@h:1'}", "{uri: 'h:1'}"),
        ("uri=ann:secret@@h", "uri=h"),
        ("postgresql+psycopg2://ann:s/ecret@h/d?password=secret now", "postgresql+psycopg2://h/d now"),
        ("sqlite:////home/me@work:x/y.db", "sqlite:////home/me@work:x/y.db"),
        ("sqlite:////a.db?key=secret", "sqlite:////a.db"),
        ("git@github.com:a/b at 10:30", "git@github.com:a/b at 10:30"),
    ],
)
def test_user_info_and_queries_are_not_shown(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_the_environments_address_is_used_where_the_recipe_names_none(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "http://of-the-environment:5000")
    assert "mlflow.db" in read_recipe(recipe).tracking.uri
    lines = recipe.read_text().splitlines()
    recipe.write_text("\n".join(line for line in lines if not line.startswith("tracking")))
    assert read_recipe(recipe).tracking.uri == "http://of-the-environment:5000"
    assert read_recipe(recipe, ["tracking.experiment=e"]).tracking.uri == "http://of-the-environment:5000"
    assert read_recipe(recipe, ["tracking.uri=none"]).tracking.uri == "none"
    monkeypatch.setenv(VARIABLE, "localhost:5000")
    with pytest.raises(InputError, match=r"environment variable MLFLOW_TRACKING_URI: .*write http://localhost:5000"):
        read_recipe(recipe)
    monkeypatch.setenv(VARIABLE, "")
    assert read_recipe(recipe).tracking.uri == "sqlite:///mlflow.db"


def test_an_environments_address_that_is_passed_over_is_told_without_its_password() -> None:
    line = passed_over("none", {VARIABLE: "http://ann:secret@h"})
    assert line == "MLFLOW_TRACKING_URI=http://h is passed over, for the recipe says tracking.uri=none"
    assert passed_over("http://h", {VARIABLE: "http://h"}) is None
    assert passed_over("http://h", {}) is None
