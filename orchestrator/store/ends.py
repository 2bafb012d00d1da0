"""The names in a run's folder that say where the run stands: one file per way to end, one folder per attempt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from orchestrator import objects

COMMITTED, DIVERGED, STOPPED = "COMMITTED.json", "DIVERGED.json", "STOPPED.json"
ENDS = {"committed": COMMITTED, "diverged": DIVERGED, "stopped": STOPPED}
"""By the word for an end of a run: the file whose existence is that end."""
CHECKPOINTS = "checkpoints"
"""The folder with the checkpoints of an attempt."""
BEGUN = "begun.json"
"""The object in an attempt's folder whose creation opens the attempt in an object store."""


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


def refresh(folder: Path, wanted: Callable[[PurePosixPath], bool], runs: str = "") -> None:
    """Fetch the ``wanted`` objects below ``folder``, and forget the ends that are no longer in the store.

    ``runs`` leads from ``folder`` to the folders of runs, as in a glob: the ends there are compared. Without an object
    store nothing happens.
    """
    if objects.key_of(folder) is None:
        return
    here = [end for name in ENDS.values() for end in folder.glob(f"{runs}{name}")]  # before the store is asked: an end
    there = objects.fetch(folder, wanted)  # of a run is in the store before it is here
    for end in here:
        if str(end.relative_to(folder)) not in there:
            end.unlink(missing_ok=True)


def is_mark(name: PurePosixPath) -> bool:
    """Return whether the file ``name`` of a run's folder says where the run stands: an end, or an attempt's begin."""
    return name.name == BEGUN or (len(name.parts) == 1 and name.name in ENDS.values())
