"""The names in a run's folder that say where the run stands: one file per way to end, one folder per attempt."""

from __future__ import annotations

from pathlib import Path

COMMITTED, DIVERGED, STOPPED = "COMMITTED.json", "DIVERGED.json", "STOPPED.json"
ENDS = {"committed": COMMITTED, "diverged": DIVERGED, "stopped": STOPPED}
"""By the word for an end of a run: the file whose existence is that end."""


def end_of(run: Path) -> str | None:
    """Return how the run in folder ``run`` has ended, a key of ENDS; None if the run has still to be trained."""
    return next((end for end, name in ENDS.items() if (run / name).exists()), None)


def attempt_folder(run: Path, number: int) -> Path:
    """Return the folder in which attempt ``number`` works."""
    return run / f"attempt-{number}"


def newest_attempt(run: Path) -> int:
    """Return the highest number of an attempt whose folder exists; 0 if no attempt has a folder."""
    numbers = (path.name.removeprefix("attempt-") for path in run.glob("attempt-*"))
    return max((int(number) for number in numbers if number.isdigit()), default=0)
