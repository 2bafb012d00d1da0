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
    if not isinstance(made, dict) or not all(isinstance(made.get(part), kind) for part, kind in PARTS.items()):
        raise InputError(
            f"{folder.sweep} is damaged: it does not say how this sweep was made. The sweep's command writes it anew, "
            "and trains no finished run again; or bring the file back from a copy."
        )
    whole = all(isinstance(data, dict) and {"fingerprint", "train"} <= data.keys() for data in made["data"].values())
    if not whole:
        raise InputError(
            f"{folder.sweep} was written by another version, which did not count the rows of its data. The sweep's "
            "command writes it anew, and trains no finished run again."
        )
    return made
