"""A sweep in an object store: the same end as on a disk, on any machine, whoever is killed and whatever is lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator import objects
from orchestrator.store.run_folder import RunFolder
from tests.helpers.stores import BUCKET, near, server, store  # noqa: F401 - fixtures
from tests.helpers.sweeps import rows_of, run

WORDS = ("tasks=[tiny_recall]", f"storage=s3://{BUCKET}/all", "tracking.uri=none")


@pytest.mark.slow
def test_a_sweep_lands_in_the_store_and_another_machine_takes_it_up(recipe: Path, store: Any) -> None:  # noqa: F811
    code, output, folder = run(recipe, *WORDS)
    assert code == 0, output
    rows = rows_of(folder)
    names = {name.removeprefix(f"{BUCKET}/all/small/") for name in store.find(f"{BUCKET}/all/small")}
    assert {"sweep.json", "results.jsonl", "summary.json", "report.html"} <= names
    assert {"champions/tiny_recall/model.safetensors", "champions/tiny_recall/evaluation.json"} <= names
    for row in rows:
        key = row["run_key"]
        assert {f"runs/{key}/COMMITTED.json", f"runs/{key}/attempt-1/adapter/adapter.safetensors"} <= names
        assert f"predictions/{key}.jsonl" in names
    before = {file.name: file.read_bytes() for file in folder.glob("*.*") if file.is_file()}
    shutil.rmtree(near())  # another machine
    code, output, folder = run(recipe, *WORDS)
    assert code == 0, output
    assert "4 done already, 0 to train" in output
    assert "merging" not in output
    for row in rows:
        RunFolder(folder / "runs" / row["run_key"]).verify()
    assert rows_of(folder) == rows
    assert (folder / "results.jsonl").read_bytes() == before["results.jsonl"]
