"""Words of a job that are no keys of a recipe reach the job, and not the recipe."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from jobs.command import run_job
from orchestrator.recipe.spec import SweepSpec
from tests.helpers.folders import Made


def call(made: Made, *words: str, own_words: tuple[str, ...] = ("night",)) -> tuple[int, dict[str, Any]]:
    got: dict[str, Any] = {}

    def main(spec: SweepSpec, command: str, console: Console, **own: Any) -> int:
        del console
        got.update(own, seeds=spec.seeds, command=command)
        return 0

    return run_job("nightly", "", main, [*made.words, *words], own_words=own_words), got


def test_an_own_word_is_given_by_name_and_the_others_change_the_recipe(made: Made) -> None:
    code, got = call(made, "night=2026-11-28", "seeds=[7]")
    assert (code, got["night"], got["seeds"]) == (0, "2026-11-28", [7])
    assert got["command"].endswith("night=2026-11-28 'seeds=[7]'")


def test_an_own_word_that_is_not_given_is_none(made: Made) -> None:
    assert call(made)[1]["night"] is None


def test_an_own_word_given_twice_is_refused(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(made, "night=2026-11-28", "night=2026-11-27")[0] == 2
    assert "argument 'night=2026-11-27': night is given twice. Leave one out." in capsys.readouterr().err


def test_the_word_of_another_job_is_no_key_of_a_recipe(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(made, "night=2026-11-28", own_words=())[0] == 2
    assert "Unknown key 'night'. Did you mean 'nightly'?" in capsys.readouterr().err
