"""What a sweep's folder says of itself in ``sweep.json``, or a refusal with the remedy where it says nonsense."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import InputError
from orchestrator.store.inventory import content
from orchestrator.store.sweep_folder import SweepFolder

PARTS = {"recipe": dict, "base": str, "data": dict, "runs": list}


def made_as(folder: SweepFolder) -> Mapping[str, Any] | None:
    """Return the content of sweep.json; None if there is no such file, as before a first start.

    InputError if the file is not what a sweep writes; OSError if it cannot be read.
    """
    try:
        made = json.loads(content(folder.sweep))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        made = None
    if not isinstance(made, dict) or not _is_whole(made):
        raise InputError(
            f"{folder.sweep} is damaged: it does not say how this sweep was made. The sweep's command writes it anew, "
            "and trains no finished run again; or bring the file back from a copy."
        )
    if not all(isinstance(data.get("train"), int) for data in made["data"].values()):
        raise InputError(
            f"{folder.sweep} was written by another version, which did not count the rows of its data. The sweep's "
            "command writes it anew, and trains no finished run again."
        )
    return made


def _is_whole(made: Mapping[str, Any]) -> bool:
    """Return whether all that is read of a sweep.json has the form in which a sweep writes it."""
    if not all(isinstance(made.get(part), kind) for part, kind in PARTS.items()):
        return False
    recipe = made["recipe"]
    sections = [*(recipe.get(name, {}) for name in ("model", "data")), *made["data"].values()]
    lists = [recipe.get(name, []) for name in ("tasks", "methods")]
    return (
        all(isinstance(section, dict) for section in sections)
        and all(isinstance(one, list) and all(isinstance(entry, dict) for entry in one) for one in lists)
        and all(isinstance(data.get("fingerprint"), str) for data in made["data"].values())
        and all(isinstance(key, str) for key in made["runs"])
    )
