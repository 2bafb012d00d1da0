"""The result of one check: what was looked at, how it stands, and what to do; errors become results."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from orchestrator.addresses import without_secrets
from orchestrator.errors import HeldError, InputError, RunError

Status = Literal["ok", "warn", "fail"]
EXPECTED = (InputError, RunError, HeldError)
_SENTENCE = re.compile(r"(?<=\.)\s+(?=[A-Z`])")
WIDTH = max(len(status) for status in ("ok", "warn", "fail"))


@dataclass(frozen=True)
class Check:
    """One line of the doctor. ``remedy`` is empty only for "ok"."""

    check: str
    status: Status
    message: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if bool(self.remedy) == (self.status == "ok"):
            raise ValueError(f"{self.check}: a remedy belongs to every warning and failure, and to nothing else")

    def __str__(self) -> str:
        line = f"{self.status:{WIDTH}}  {self.check}: {self.message}"
        return f"{line}{'' if line.endswith('.') else '.'} {self.remedy}".rstrip() if self.remedy else line

    def as_json(self) -> dict[str, str]:
        """Return the check as data, without secrets."""
        return {key: without_secrets(value) for key, value in asdict(self).items()}


def ok(check: str, message: str) -> Check:
    """Return a check that went well."""
    return Check(check, "ok", message)


def warn(check: str, message: str, remedy: str) -> Check:
    """Return a check of something that costs time or surprises, and does not stop a sweep."""
    return Check(check, "warn", message, remedy)


def fail(check: str, message: str, remedy: str) -> Check:
    """Return a check of something with which a sweep fails."""
    return Check(check, "fail", message, remedy)


def guarded(check: str, call: Callable[[], Iterable[Check]], remedy: str) -> list[Check]:
    """Return the checks that ``call`` gives; if it raises, those that it gave before and one failure.

    Our own errors carry their remedy as their last sentences; ``remedy`` is for every other error.
    """
    checks: list[Check] = []
    try:
        checks.extend(call())
    except EXPECTED as error:
        message, *rest = _SENTENCE.split(" ".join(str(error).split()), maxsplit=1)
        checks.append(fail(check, message, rest[0] if rest else remedy))
    except Exception as error:  # of any kind: a doctor that dies has no diagnosis
        line = (str(error).splitlines() or [""])[0]
        checks.append(fail(check, f"{type(error).__name__}: {line}", remedy))
    return checks


def exit_code(checks: Iterable[Check]) -> int:
    """Return 1 if a check failed, else 0."""
    return int(any(check.status == "fail" for check in checks))
