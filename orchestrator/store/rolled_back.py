"""The runs of a task that somebody has rolled back: the gate never lets them in again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.errors import RunError
from orchestrator.files import read_json, write_json

SUFFIX = ".refused.json"


@dataclass(frozen=True)
class RolledBack:
    """A roll-back: from the run ``run_key`` back to the run ``back_to``, on the day ``day`` (``YYYY-MM-DD``)."""

    run_key: str
    back_to: str
    day: str


def memory_of(place: Path) -> Path:
    """Return the file that remembers the roll-backs of the task whose champion is in ``place``."""
    return place.with_name(f"{place.name}{SUFFIX}")


def rolled_back(place: Path) -> list[RolledBack]:
    """Return the roll-backs of a task, the newest last; RunError for a file that says something else.

    A file that cannot be understood is not taken for an empty one, because then a bad run would come back.
    """
    file = memory_of(place)
    if not file.exists():
        return []
    content = read_json(file)
    try:
        return [RolledBack(str(row["run_key"]), str(row["back_to"]), str(row["day"])) for row in content["rolled_back"]]
    except (TypeError, KeyError):
        raise RunError(
            f"{file} is damaged: it has to name the runs that were rolled back. Bring it back from a copy, or delete "
            "it: then a run that was rolled back may become the champion again."
        ) from None


def remember(place: Path, rows: Sequence[RolledBack]) -> None:
    """Write the roll-backs of a task."""
    write_json(memory_of(place), {"rolled_back": [asdict(row) for row in rows]})
