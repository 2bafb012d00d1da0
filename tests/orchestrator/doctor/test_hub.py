"""Base and rows of a recipe: on disk, in a mirror, or on a hub that answers, refuses or is away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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


def test_a_directory_needs_a_config(tmp_path: Path) -> None:
    words = f"model.path={tmp_path}"
    assert base(spec(words), hub("ConnectTimeout"))[0].status == "fail"
    (tmp_path / "config.json").write_text("{}")
    assert base(spec(words), hub("ConnectTimeout"))[0].status == "ok"


def test_a_mirror_is_read_and_the_hub_is_not_asked(tmp_path: Path) -> None:
    words = f"data.mirror={tmp_path}", "tasks=[boolq]"
    (check,) = rows(spec(*words), hub("ConnectTimeout"))
    assert (check.status, "Put the rows there" in check.remedy) == ("fail", True)
    place = tmp_path / "google" / "boolq" / "default"
    place.mkdir(parents=True)
    (place / "train.jsonl").write_text('{"question": "q", "passage": "p", "answer": true}\n')
    checks = rows(spec(*words), hub("ConnectTimeout"))
    assert [check.status for check in checks] == ["ok"], checks


def test_a_file_of_ones_own_that_is_not_there_fails(tmp_path: Path) -> None:
    task = f"tasks=[{{name: mine, path: {tmp_path}/no.jsonl, question: q, choices: c, answer: a}}]"
    (check,) = rows(spec(task), hub())
    assert check.status == "fail"
    assert "no.jsonl" in check.message
