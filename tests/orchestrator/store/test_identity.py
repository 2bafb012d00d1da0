"""The identity of a sweep's folder: made once, for a new folder and for one that an earlier version has left."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import InputError
from orchestrator.store.identity import identity_of
from orchestrator.store.sweep_folder import SweepFolder


def test_each_folder_has_a_word_of_its_own_that_stays(tmp_path: Path) -> None:
    one, other = SweepFolder(tmp_path / "a" / "same"), SweepFolder(tmp_path / "b" / "same")
    word = identity_of(one)
    assert identity_of(other).word != word.word
    one.sweep.write_text("{}")
    assert identity_of(one) == word
    assert not word.adopts


@pytest.mark.parametrize("left", ["sweep.json", "runs/ab/run.json"])
def test_a_folder_that_an_earlier_version_has_left_goes_on_with_what_has_its_name(tmp_path: Path, left: str) -> None:
    (tmp_path / left).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / left).write_text("{}")
    assert identity_of(SweepFolder(tmp_path)).adopts
    assert identity_of(SweepFolder(tmp_path)).adopts


@pytest.mark.parametrize(
    "content", ["", "[]", '{"word": ""}', '{"word": "a\' or 1", "adopts": false}', '{"word": "a"}']
)
def test_a_file_that_says_something_else_is_refused_and_the_remedy_works(tmp_path: Path, content: str) -> None:
    folder = SweepFolder(tmp_path)
    folder.identity.write_text(content)
    with pytest.raises(InputError, match=r"sweep\.id .*delete it"):
        identity_of(folder)
    folder.identity.unlink()
    assert identity_of(folder).word
