"""A champion in MLflow's registry is its folder's own, and opens as MLflow opens any model."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import mlflow
import pytest

from orchestrator import objects
from orchestrator.files import read_json, write_json
from orchestrator.store.champion import EVALUATION, up_to_date
from orchestrator.store.identity import Identity
from orchestrator.tracking.mlflow.registry import champions as registry
from orchestrator.tracking.mlflow.registry.flavour import give_flavour
from orchestrator.tracking.mlflow.tracker import MlflowTracker
from tests.helpers.servers import mlflow_server
from tests.helpers.stores import machine, server, store  # noqa: F401 - fixtures
from tests.orchestrator.tracking.mlflow.test_tracker import RUNS, SWEEP

NAME = "tracked-boolq"


def champion(place: Path, sweep: str, run: int = 0) -> tuple[dict[str, Any], Path]:
    """Write a champion's directory of the sweep in the folder ``sweep``; return its evaluation and its place."""
    folder = place / sweep / "champions" / "boolq"
    evaluation = {"run_key": RUNS[run].key, "method": "lora", "status": "sound"}
    write_json(folder / EVALUATION, evaluation)
    return evaluation, folder


def register(place: Path, sweep: str, word: str, *, run: int = 0, adopts: bool = False) -> list[str]:
    """Register the champion of a sweep as its driver does; return what the driver says."""
    said: list[str] = []
    uri = f"sqlite:///{place}/mlflow.db"
    tracker = MlflowTracker(SWEEP, uri, "a test", Identity(word, adopts), said.append)
    tracker.connect()
    evaluation, folder = champion(place, sweep, run)
    tracker.register("boolq", evaluation, folder)
    return said


def models(place: Path) -> dict[str, dict[str, str]]:
    """Return the tag of the owner and the source of the champion of each registered model."""
    client = mlflow.MlflowClient(f"sqlite:///{place}/mlflow.db")
    return {
        model.name: {
            "owner": model.tags.get("sweep_id", ""),
            "source": client.get_model_version_by_alias(model.name, "champion").source,
            "versions": str(len(client.search_model_versions(f"name = '{model.name}'"))),
        }
        for model in client.search_registered_models()
    }


def test_two_sweeps_of_one_name_have_two_models_whoever_starts_again(place: Path) -> None:
    one, two = "1" * 32, "2" * 32
    assert register(place, "first", one) == []
    (line,) = register(place, "second", two)
    assert (
        line == f"MLflow's model {NAME} is of another sweep of this name, so this sweep's champion is {NAME}-22222222."
    )
    assert register(place, "first", one) == register(place, "second", two) == []
    assert register(place, "second", two, run=1) == []
    sources = {name: (place / sweep / "champions" / "boolq").as_uri() for name, sweep in (
        (NAME, "first"), (f"{NAME}-22222222", "second"),
    )}  # fmt: skip
    assert models(place) == {
        NAME: {"owner": one, "source": sources[NAME], "versions": "1"},
        f"{NAME}-22222222": {"owner": two, "source": sources[f"{NAME}-22222222"], "versions": "2"},
    }


def test_a_model_of_an_earlier_version_stays_with_the_folder_that_it_is_of(place: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{place}/mlflow.db")
    client.create_registered_model(NAME)
    _, folder = champion(place, "first")
    version = client.create_model_version(NAME, folder.as_uri(), tags={"run_key": RUNS[0].key})
    client.set_registered_model_alias(NAME, "champion", version.version)
    (line,) = register(place, "second", "2" * 32)
    assert NAME in line
    assert register(place, "first", "1" * 32) == []
    assert {name: model["owner"] for name, model in models(place).items()} == {
        NAME: "1" * 32,
        f"{NAME}-22222222": "2" * 32,
    }
    assert models(place)[NAME]["versions"] == "1"


def test_a_folder_that_is_older_than_its_word_takes_the_model_of_its_name(place: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{place}/mlflow.db")
    client.create_registered_model(NAME)
    client.create_model_version(NAME, "file:///elsewhere/before/it/moved")
    assert register(place, "moved", "1" * 32, adopts=True) == []
    assert list(models(place)) == [NAME]


@pytest.mark.slow
def test_a_champion_opens_with_mlflows_transformers_flavour_and_answers_as_it_does_without(
    place: Path, small_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = place / "first" / "champions" / "boolq"
    shutil.copytree(small_base, folder)
    register(place, "first", "1" * 32)
    weights = {file.name: file.stat().st_size for file in folder.rglob("*.safetensors")}
    assert list(weights) == ["model.safetensors"]  # no copy
    uri = f"sqlite:///{place}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    opened = mlflow.transformers.load_model(f"models:/{NAME}@champion", return_type="components")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer("the old town", return_tensors="pt")["input_ids"]
    assert torch.equal(opened["tokenizer"]("the old town", return_tensors="pt")["input_ids"], tokens)
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(folder)(tokens).logits
        assert torch.equal(opened["model"](tokens).logits, logits)
    pipeline = mlflow.transformers.load_model(f"models:/{NAME}@champion")
    assert "generated_text" in pipeline("the old town", max_new_tokens=2)[0]


def test_a_directory_without_a_model_gets_no_flavour_and_a_flavour_changes_no_file(tmp_path: Path) -> None:
    evaluation, folder = champion(tmp_path, "first")
    write_json(folder / EVALUATION, evaluation | {"files": {}})
    give_flavour(folder)
    assert [file.name for file in folder.iterdir()] == [EVALUATION]
    assert read_json(folder / EVALUATION)["run_key"] == evaluation["run_key"]
    assert up_to_date(folder, evaluation["run_key"]) is None  # without files it is no champion


@pytest.mark.slow
@pytest.mark.rare
def test_a_server_gets_the_files_of_a_small_champion_and_opens_it(
    tmp_path: Path, small_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.orchestrator.tracking.mlflow.test_tracker import write

    folder = tmp_path / "first" / "champions" / "boolq"
    shutil.copytree(small_base, folder)
    evaluation, _ = champion(tmp_path, "first")
    write(tmp_path / "first", RUNS[0], 3, end="COMMITTED")
    with mlflow_server(f"sqlite:///{tmp_path}/server.db", tmp_path) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        mlflow.set_tracking_uri(address)
        tracker = MlflowTracker(SWEEP, address, "a test", Identity("1" * 32))
        tracker.connect()
        tracker.sync(RUNS, tmp_path / "first")
        tracker.register("boolq", evaluation, folder)
        opened = mlflow.transformers.load_model(f"models:/{NAME}@champion", return_type="components")
        assert opened["model"].config.architectures
        monkeypatch.setattr(registry, "UPLOAD_BYTES", 1000)
        evaluation, _ = champion(tmp_path, "first", run=1)
        write(tmp_path / "first", RUNS[1], 3, end="COMMITTED")
        tracker.sync(RUNS, tmp_path / "first")
        tracker.register("boolq", evaluation, folder)
        client = mlflow.MlflowClient(address)
        version = client.get_model_version_by_alias(NAME, "champion")
        assert version.tags["place"] == folder.as_uri()
        listed = client.list_artifacts(version.run_id, "champion")
        assert [file.path for file in listed] == [f"champion/{EVALUATION}"]
    assert mlflow.transformers.load_model(version.tags["place"], return_type="components")["model"]


@pytest.mark.slow
@pytest.mark.rare
def test_a_champion_in_an_object_store_opens_from_its_address(
    place: Path,
    small_base: Path,
    store: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = machine("driver") / "first" / "champions" / "boolq"
    shutil.copytree(small_base, folder)
    write_json(folder / EVALUATION, {})
    objects.put(folder)
    uri = f"sqlite:///{place}/mlflow.db"
    tracker = MlflowTracker(SWEEP, uri, "a test", Identity("1" * 32))
    tracker.connect()
    for _ in range(2):
        tracker.register("boolq", {"run_key": RUNS[0].key, "method": "lora"}, folder)
    shutil.rmtree(folder)  # another machine has no near copy
    assert models(place) == {
        NAME: {"owner": "1" * 32, "source": "s3://sweeps/all/first/champions/boolq", "versions": "1"}
    }
    mlflow.set_tracking_uri(uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", os.environ["AWS_ENDPOINT_URL"])
    assert "model" in mlflow.transformers.load_model(f"models:/{NAME}@champion", return_type="components")
