"""The quick part of a sweep: what it refuses is what the doctor fails, and shortness of room is a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.doctor import quick
from orchestrator.errors import InputError
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.spec import SweepSpec
from tests.helpers.places import ROOT
from tests.helpers.sweeps import run
from tests.orchestrator.doctor.machines import GIB, a_room


def spec(*words: str) -> SweepSpec:
    return read_recipe(ROOT / "recipes" / "quickstart.yaml", words)


def test_a_storage_that_is_refused_is_what_the_doctor_fails(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bad = spec(f"storage={tmp_path}/file/sweeps")
    with pytest.raises(InputError) as refusal:
        quick.try_storage_of(bad)
    (check,) = quick.storage(bad)
    assert check.status == "fail"
    assert f"{check.message} {check.remedy}" == " ".join(str(refusal.value).split())


def test_an_address_that_is_refused_is_what_the_doctor_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265")
    with pytest.raises(InputError, match="no address of a Ray"):
        quick.try_ray_of(spec())
    assert [check.status for check in quick.ray(spec())] == ["fail"]
    assert quick.try_ray_of(spec("cluster.kind=local")) == "cluster.kind=local needs no Ray"


@pytest.mark.parametrize(
    ("given", "workers", "lines"),
    [
        ({"disk": {"/data": GIB}}, 1, 1),
        ({"shm": 0}, 1, 0),
        ({"shm": 0}, 2, 1),
        ({"handles": 256}, 1, 1),
        ({}, 2, 0),
    ],
)
def test_shortness_of_room_is_a_line_with_its_remedy(
    given: dict[str, Any], workers: int, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick, "room_of", lambda _: a_room(**given))
    said = quick.remarks_on_room(spec(f"cluster.workers={workers}", "optim.micro_batch=16"), Path("/data"))
    assert len(said) == lines
    assert all(line.startswith("this machine ") and ". " in line for line in said)


def test_the_sweep_says_so_and_goes_on(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "room_of", lambda _: a_room(disk={"/data": GIB // 4}))
    words = "tasks=[tiny_recall]", "seeds=[0]", "champions=false", "tracking.uri=none", "optim.epochs=1"
    code, told, _ = run(recipe, *words)
    assert code == 0
    assert told.startswith("this machine has 0.2 GiB free at /data. Make room there")
