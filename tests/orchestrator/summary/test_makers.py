"""Runs of different makers are not compared without a word."""

from __future__ import annotations

from typing import Any

from orchestrator.summary.makers import mixed_makers


def row(status: str = "committed", **maker: Any) -> Any:
    return {"status": status, "made_by": maker or None}


def test_runs_of_one_maker_need_no_word_and_neither_do_runs_that_say_nothing() -> None:
    ours = row(code="abc", commit="0123456789abcdef", device="H100", versions={"torch": "2.13.0"})
    assert mixed_makers([ours, ours]) == []
    assert mixed_makers([{"status": "committed"}, {"status": "committed"}]) == []  # type: ignore[list-item]
    assert mixed_makers([ours, row("failed")]) == []


def test_another_code_version_or_device_is_said_with_the_number_of_its_runs() -> None:
    first = row(code="abc", commit="0123456789abcdef with changes", device="H100", versions={"torch": "2.13.0"})
    second = row(code="def", device="H200", versions={"torch": "2.13.0"})
    code, device = mixed_makers([first, first, second])
    assert code.startswith(
        "The compared runs were made by 2 versions of the code (abc (commit 0123456789): 2 runs and def: 1 run)"
    )
    assert "2 kinds of device (H100: 2 runs and H200: 1 run)" in device
    (old,) = [line for line in mixed_makers([first, {"status": "committed"}]) if "code" in line]  # type: ignore[list-item]
    assert "not recorded: 1 run" in old
