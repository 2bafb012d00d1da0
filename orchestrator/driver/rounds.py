"""Training in rounds: the runs that the search asks for next, until it asks for none."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.recipe.search import Search
from orchestrator.search.halving import stopping_rule
from orchestrator.store.run_folder import RunFolder


def take_back_stops(folders: Iterable[RunFolder], search: Search) -> int:
    """Let runs that another rule has stopped be trained, from their beginning; return how many. Other ends stay."""
    found = [folder for folder in folders if folder.stopped_by() not in (None, stopping_rule(search))]
    for folder in found:
        folder.reopen()
    return len(found)
