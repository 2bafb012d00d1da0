"""A check is one line and one JSON object; an error of any kind becomes a failure with a remedy, without secrets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.doctor.check import Check, exit_code, fail, guarded, ok, warn
from orchestrator.errors import InputError


def test_a_line_has_status_check_message_and_remedy() -> None:
    assert str(fail("disk", "full", "Make room")) == "fail  disk: full. Make room"
    assert str(warn("disk", "nearly full.", "Make room")) == "warn  disk: nearly full. Make room"
    assert str(ok("disk", "80 GiB")) == "ok    disk: 80 GiB"


def test_a_failure_alone_decides_the_exit_code() -> None:
    assert exit_code([ok("a", "b"), warn("a", "b", "c")]) == 0
    assert exit_code([ok("a", "b"), fail("a", "b", "c")]) == 1


@pytest.mark.parametrize(("status", "remedy"), [("ok", "something"), ("warn", ""), ("fail", "")])
def test_a_remedy_belongs_to_every_warning_and_failure(status: str, remedy: str) -> None:
    with pytest.raises(ValueError, match="a remedy"):
        Check("a", status, "b", remedy)  # type: ignore[arg-type]


def raising(error: Exception) -> Iterator[Check]:
    yield ok("a", "begun")
    raise error


def test_our_own_error_brings_its_remedy() -> None:
    error = InputError("storage=/x: cannot create a hard link: Operation not permitted. Give another folder")
    _, check = guarded("storage", lambda: raising(error), "none")
    assert check.message == "storage=/x: cannot create a hard link: Operation not permitted."
    assert check.remedy == "Give another folder"


def test_any_other_error_gets_the_remedy_of_the_check() -> None:
    begun, check = guarded("gpus", lambda: raising(KeyError("x")), "Look at it")
    assert begun == ok("a", "begun")  # what was seen before the error is told too
    assert (check.status, check.message, check.remedy) == ("fail", "KeyError: 'x'", "Look at it")


def test_secrets_are_not_told() -> None:
    said = fail("mlflow", "http://me:hunter2@host:5000 is away", "Start http://me:hunter2@host:5000").as_json()
    assert "hunter2" not in str(said)
