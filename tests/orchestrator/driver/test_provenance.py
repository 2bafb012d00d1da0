"""sweep.json: what made a sweep, and which command keeps its place there."""

from __future__ import annotations

from pathlib import Path

from orchestrator.driver.provenance import provenance, write_provenance
from orchestrator.files import read_json
from orchestrator.store.sweep_folder import SweepFolder
from tests.helpers.ready import ready_sweep


def test_a_merge_keeps_the_command_that_trained_and_writes_its_own_only_where_there_is_none(tmp_path: Path) -> None:
    ready = ready_sweep(tmp_path)
    folder = SweepFolder.of(ready.spec)
    for command, replace, kept in (("merge", False, "merge"), ("sweep", True, "sweep"), ("merge", False, "sweep")):
        write_provenance(folder, ready, command, replace=replace)
        assert read_json(folder.sweep)["command"] == kept


def test_it_names_recipe_base_data_and_runs_and_no_secret(tmp_path: Path) -> None:
    ready = ready_sweep(tmp_path, "tracking.uri=http://ann:hidden-word@h:5000")
    content = provenance(ready, "command")
    assert content["base"] == ready.base.fingerprint
    assert content["data"]["tiny_recall"]["fingerprint"] == "data of tiny_recall"
    assert content["data"]["tiny_recall"]["train"] == 48
    assert content["runs"] == [run.key for run in ready.runs]
    assert "hidden-word" not in str(content)
