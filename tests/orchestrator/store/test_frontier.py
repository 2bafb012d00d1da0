"""Every job of a sweep sees which nights the runs of its methods are of; a damaged file is refused with its copy."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

import jobs.status
from jobs.command import run_job
from orchestrator.errors import InputError
from orchestrator.files import write_bytes, write_json
from orchestrator.store.frontier import read_frontier, renewed_of, with_renewed
from orchestrator.store.manifest import sealed
from orchestrator.store.nights_folder import NightsFolder
from tests.helpers.folders import Made


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path, str(tmp_path / "sweeps"))


def write(made: Made, **nights: list[str | None]) -> None:
    """Write the frontier and the copy of the newest night."""
    folder = NightsFolder.of(made.spec)
    content = sealed({"methods": {label: [{"night": night} for night in kept] for label, kept in nights.items()}})
    write_json(folder.night("2026-11-28").frontier, content)
    write_json(folder.frontier, content)


def test_before_the_first_night_nothing_is_renewed(made: Made) -> None:
    assert read_frontier(NightsFolder.of(made.spec)) is None
    assert with_renewed(made.spec) == made.spec


def test_the_present_night_of_each_method_counts(made: Made) -> None:
    write(made, lora=[None, "2026-11-20", "2026-11-28"], dora=["2026-11-20", None])
    assert with_renewed(made.spec).renewed == {"lora": "2026-11-28"}


def test_a_method_that_the_recipe_no_longer_has_is_passed_over(made: Made) -> None:
    write(made, lora=[None], d2lora=["2026-11-28"])
    assert with_renewed(made.spec).renewed == {}


def test_the_recipes_own_word_comes_first(made: Made) -> None:
    write(made, lora=["2026-11-28"], dora=["2026-11-28"])
    own = made.spec.model_copy(update={"renewed": {"lora": "again"}})
    assert with_renewed(own).renewed == {"lora": "again", "dora": "2026-11-28"}
    state = read_frontier(NightsFolder.of(made.spec))
    assert state is not None
    assert renewed_of(state, made.spec) == {"lora": "2026-11-28", "dora": "2026-11-28"}


@pytest.mark.parametrize("damage", ["{", "[]", '{"methods": {}}', "edited"])
def test_a_damaged_frontier_is_refused_and_the_command_in_the_message_mends_it(made: Made, damage: str) -> None:
    write(made, lora=["2026-11-28"])
    file = NightsFolder.of(made.spec).frontier
    edited = file.read_text().replace("2026-11-28", "2026-11-27")
    write_bytes(file, (edited if damage == "edited" else damage).encode())
    with pytest.raises(InputError, match="is damaged: it does not say of which nights") as caught:
        with_renewed(made.spec)
    command = str(caught.value).split(". ")[1].split(" (")[0]
    subprocess.run(shlex.split(command), check=True)
    assert with_renewed(made.spec).renewed == {"lora": "2026-11-28"}


def test_jobs_see_the_frontier(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    made.begin()
    for number in range(3):
        made.commit(number)

    def committed() -> int:
        assert run_job("status", "", jobs.status.main, [*made.words, "--json"], jobs.status.add_options) == 0
        status: dict[str, Any] = json.loads(capsys.readouterr().out)
        return int(status["committed"])

    assert committed() == 3
    write(made, lora=["2026-11-28"], dora=[None])
    assert committed() == 0  # the three runs are lora's, of before the night
