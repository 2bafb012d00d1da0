"""The world of a night is what its runs and its worker say; a night of two worlds says so."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.nightly.world import mixed, world_of

HERE = {
    "machine": "CPU A (AVX2, 2 threads)",
    "code": "c0de",
    "versions": {"python": "3.11", "torch": "2.13", "numpy": "2.4"},
}


def row(device: str = "CPU A", code: str = "c0de", torch: str = "2.13", **more: Any) -> dict[str, Any]:
    made_by = {"device": device, "code": code, "world": 1, "versions": {"python": "3.11", "torch": torch}}
    return {"status": "committed", "made_by": made_by, "made_before": [], **more}


def world(rows: list[dict[str, Any]], surroundings: Any = HERE) -> Any:
    return world_of(rows, surroundings, base="b", data={"t": "rows"}, settings="s", commit="abc")


def test_the_world_is_that_of_the_worker_with_the_number_of_workers() -> None:
    here = world([row(), row()])
    assert here.machine == "CPU A (AVX2, 2 threads), 1 worker"
    assert (here.code, here.commit, here.base, here.rows, here.settings) == ("c0de", "abc", "b", {"t": "rows"}, "s")
    assert here.versions == HERE["versions"]


def test_a_run_on_another_kind_of_machine_makes_another_machine() -> None:
    assert world([row(), row(device="CPU B")]).machine == "CPU A (AVX2, 2 threads) and CPU B, 1 worker"


def test_without_a_worker_that_answered_nothing_is_made_up() -> None:
    here = world([], None)
    assert (here.machine, here.code, here.versions) == ("unknown, 1 worker", "unknown", {})


def test_a_night_of_one_world_is_whole() -> None:
    assert mixed([row(), row(made_before=[row()["made_by"]]), {"status": "failed"}], HERE) == ""
    assert mixed([row()], None) == ""


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(), row(code="other")], "2 versions of the code (c0de and other)"),
        ([row(code="other")], "2 versions of the code"),  # than the worker that scored the anchors
        ([row(made_before=[row(code="other")["made_by"]])], "2 versions of the code"),  # a run that went on
        ([row(), row(torch="2.14")], "2 versions of torch (2.13 and 2.14)"),
    ],
)
def test_a_night_that_went_on_in_another_world_says_so(rows: list[dict[str, Any]], said: str) -> None:
    assert said in mixed(rows, HERE)
