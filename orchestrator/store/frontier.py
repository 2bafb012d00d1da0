"""The frontier of a sweep on disk: per method the night that its runs are of, which is in their run keys.

The first night adopts the runs of the sweep as they are. A later night renews the methods that a change has reached.
Every job of the sweep reads the file, because it decides run keys. Under ``methods`` it has for each label all that was
trained and is kept, the present one last (`verdict.frontier.State`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orchestrator import objects
from orchestrator.errors import InputError
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.inventory import content
from orchestrator.store.manifest import canonical, seal_of
from orchestrator.store.nights_folder import NightsFolder

METHODS, NIGHT, SEAL = "methods", "night", "seal"
PATIENCE_SECONDS = 30.0  # a store that is away is told soon


def read_frontier(nights: NightsFolder) -> dict[str, Any] | None:
    """Return the content of ``nights/frontier.json``; None before the first night.

    InputError if the file is not what a night has written; the message names the copy that the newest night kept.
    """
    try:
        with objects.patience(PATIENCE_SECONDS):
            state = json.loads(content(nights.frontier))
    except (FileNotFoundError, NotADirectoryError):  # a file in the place of the folder is for the job to tell
        return None
    except (ValueError, RecursionError):
        state = None
    if not _is_whole(state):
        copies = [night.frontier for night in nights.nights if night.frontier.exists()]
        remedy = f"cp {copies[-1]} {nights.frontier}" if copies else f"rm {nights.frontier}"
        why = "the newest night kept a copy" if copies else "then the next night adopts the sweep as it is"
        raise InputError(
            f"{nights.frontier} is damaged: it does not say of which nights the runs of each method are. {remedy} "
            f"({why})"
        )
    return dict(state)


def with_renewed(spec: SweepSpec) -> SweepSpec:
    """Return the recipe with the nights of its frontier in ``renewed``; a label that the recipe itself names stays.

    A label that the recipe no longer has is passed over. InputError as `read_frontier`.
    """
    state = read_frontier(NightsFolder.of(spec))
    return spec if state is None else spec.model_copy(update={"renewed": renewed_of(state, spec)})


def renewed_of(state: Mapping[str, Any], spec: SweepSpec) -> dict[str, str]:
    """Return the nights of the frontier by the recipe's labels; the recipe's own ``renewed`` comes first."""
    nights = {label: kept[-1][NIGHT] for label, kept in state[METHODS].items() if kept[-1][NIGHT] is not None}
    all_nights = nights | spec.renewed
    return {method.label: all_nights[method.label] for method in spec.methods if method.label in all_nights}


def _is_whole(state: Any) -> bool:
    if not isinstance(state, dict) or state.get(SEAL) != seal_of(canonical(state)):
        return False
    methods = state.get(METHODS)
    return isinstance(methods, dict) and all(isinstance(kept, list) and kept for kept in methods.values())
