"""What a refusal of bad input has to be: exit code 2 within 2 s, one message with place and remedy, no file left."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from jobs.command import run_job

SECONDS = 2.0
REMEDY = re.compile(
    r"\b(write|give|take|use|choose|remove|delete|add|put|set|leave|unset|quote|shorten|save|convert|fetch|copy|rename|"
    r"list|correct|try|merge|attach|make|end)\b|did you mean|known: |\bshould (be|have|match)\b|for example",
    re.IGNORECASE,
)
"""A verb in the imperative, the nearest valid name, all valid names, what the value should be, or an example."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended: exit code, what it printed to stderr, seconds of this process's work, and seconds in all."""

    code: int
    told: str
    seconds: float
    waited: float

    @property
    def slow(self) -> bool:
        """Whether the job worked for too long, or hung; waiting has a margin, as other work delays a test."""
        return self.seconds > SECONDS or self.waited > 10 * SECONDS

    def faults(self, place: str) -> list[str]:
        """Return what is wrong with a refusal; ``place`` is a regular expression of which the message has a match."""
        rules = {
            f"exit code {self.code}": self.code != 2,
            "a traceback": "Traceback" in self.told or '  File "' in self.told,
            f"{self.seconds:.1f} s": self.slow,
            "no message": not self.told.strip(),
            "no place": not re.search(place, self.told),
            "no remedy": not REMEDY.search(self.told),
            f"{len(self.told)} characters": len(self.told) > 20_000,
        }
        return [rule for rule, broken in rules.items() if broken]


def end_of_job(main: Callable[..., int], words: Sequence[str], name: str = "sweep") -> Outcome:
    """Run a job in this process; an error that the job does not turn into a message is a traceback in the outcome."""
    out, err, begin = io.StringIO(), io.StringIO(), (time.process_time(), time.perf_counter())
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = run_job(name, "test", main, list(words))
        except SystemExit as error:  # of argparse
            code = error.code if isinstance(error.code, int) else 1
        except Exception:  # a user would see its traceback
            import traceback

            traceback.print_exc(file=sys.stderr)
            code = 1
    return Outcome(code, err.getvalue(), time.process_time() - begin[0], time.perf_counter() - begin[1])


def tree(*folders: Path) -> set[str]:
    """Return all names below some folders."""
    return {str(path) for folder in folders for path in folder.rglob("*")}


def together(faults: Iterable[tuple[str, list[str], str]]) -> str:
    """Return cases that failed, with their faults and messages, for the message of an assertion."""
    failed = [(case, wrong, told) for case, wrong, told in faults if wrong]
    lines = [f"{case}: {', '.join(wrong)}: {told.strip()[-300:]}" for case, wrong, told in failed]
    return "\n".join([f"{len(lines)} failed", *lines[:40]]) if lines else ""
