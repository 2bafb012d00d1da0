"""Base and rows of a recipe: on disk, in a mirror, or on a hub that answers, refuses or is away."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator.doctor.check import Check
from orchestrator.doctor.hub import Hub, base, rows
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.spec import SweepSpec
from tests.helpers.places import ROOT

KINDS = ("GatedRepoError", "RevisionNotFoundError", "RepositoryNotFoundError", "ConnectTimeout")


def spec(*words: str) -> SweepSpec:
    return read_recipe(ROOT / "recipes" / "paper.yaml", words)


def hub(error: str | None = None, *, has_token: bool = False, offline: bool = False) -> Hub:
    def ask(*_: Any) -> object:
        if error is None:
            return object()
        raise type(error, (Exception,), {})("no answer hf_secretsecretsecretsecret"[:9])

    return Hub(ask, has_token, offline)


def test_a_hub_that_gives_all_is_one_line_per_base_and_task() -> None:
    assert [check.status for check in base(spec(), hub())] == ["ok"]
    assert [check.status for check in rows(spec(), hub())] == ["ok"] * 8


@pytest.mark.parametrize(
    ("error", "said", "remedy"),
    [
        (
            "GatedRepoError",
            "is gated, and this account may not fetch it (no HF_TOKEN",
            "Accept its licence",
        ),
        ("RevisionNotFoundError", "no such revision", "commits/main"),
        ("RepositoryNotFoundError", "not on the hub, or is private", "Correct the name"),
        ("ConnectTimeout", "does not answer (ConnectTimeout", "HTTPS_PROXY"),
    ],
)
def test_a_refusal_is_explained(error: str, said: str, remedy: str) -> None:
    (check,) = base(spec(), hub(error))
    assert check.status == "fail"
    assert said in check.message
    assert remedy in check.remedy


def test_the_token_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 30)
    (check,) = base(spec(), hub("GatedRepoError", has_token=True))
    assert "HF_TOKEN" in check.message
    assert "aaaa" not in str(check)


def test_offline_is_a_warning() -> None:
    (check,) = base(spec(), hub(offline=True))
    assert (check.status, "HF_HUB_OFFLINE" in check.message) == ("warn", True)


def test_a_base_on_disk_needs_config_whole_weights_and_a_tokenizer(tmp_path: Path) -> None:
    """As a sweep needs them; the hub is not asked."""

    def told() -> Check:
        (check,) = base(spec(f"model.path={tmp_path}/base"), hub("ConnectTimeout"))
        return check

    assert "is no directory" in told().message
    shutil.copytree(ROOT / "tests" / "stored" / "base", tmp_path / "base")
    assert told().status == "ok"
    weights = tmp_path / "base" / "model.safetensors"
    whole = weights.read_bytes()
    for part, said in ((whole[:100], "model.safetensors"), (b"version https://git-lfs x", "is a git-lfs pointer")):
        weights.write_bytes(part)
        assert (told().status, said in told().message) == ("fail", True)
    weights.unlink()
    assert "holds no model" in told().message
    weights.write_bytes(whole)
    (tmp_path / "base" / "tokenizer.json").rename(tmp_path / "kept.json")
    assert "has no tokenizer" in told().message
    (tmp_path / "kept.json").rename(tmp_path / "base" / "tokenizer.json")  # the remedy
    assert told().status == "ok"


def test_a_mirror_is_read_and_the_hub_is_not_asked(tmp_path: Path) -> None:
    words = f"data.mirror={tmp_path}", "tasks=[boolq]"
    (check,) = rows(spec(*words), hub("ConnectTimeout"))
    assert (check.status, "Put the rows there" in check.remedy) == ("fail", True)
    place = tmp_path / "google" / "boolq" / "default"
    place.mkdir(parents=True)
    (place / "train.jsonl").write_text('{"question": "q", "passage": "p", "answer": true}\n')
    (check,) = rows(spec(*words), hub("ConnectTimeout"))
    assert (check.status, "validation.jsonl does not exist" in check.message) == ("fail", True), check
    (place / "validation.jsonl").write_text((place / "train.jsonl").read_text())
    checks = rows(spec(*words), hub("ConnectTimeout"))
    assert [check.status for check in checks] == ["ok"], checks


def test_a_file_of_ones_own_that_is_not_there_fails(tmp_path: Path) -> None:
    task = f"tasks=[{{name: mine, path: {tmp_path}/no.jsonl, question: q, choices: c, answer: a}}]"
    (check,) = rows(spec(task), hub())
    assert check.status == "fail"
    assert "no.jsonl" in check.message
