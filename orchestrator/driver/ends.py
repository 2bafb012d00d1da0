"""Which runs have ended: by what their trainers reported, so that a file system with old answers costs no run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from orchestrator.control import RunEnd
from orchestrator.errors import DamagedRunError
from orchestrator.say import Say
from orchestrator.store.ends import ENDS, is_mark, refresh
from orchestrator.store.manifest import read_sealed
from orchestrator.store.sweep_folder import SweepFolder

VISIBLE_SECONDS = 90.0  # NFS answers "no such file" for up to 60 s from its cache (nfs(5), acdirmax)
LOOK_SECONDS = 1.0
WORD_SECONDS = 5.0  # a wait that takes longer than this is said


def settled(
    keys: Iterable[str],
    reported: Mapping[str, RunEnd],
    folder: SweepFolder,
    say: Say,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """Return the end of each of these runs that has ended, by run key.

    A run has ended if its trainer reported so, or if its folder says so. For a reported end this waits, for
    VISIBLE_SECONDS at most, until the manifest with the reported seal can be read here: on NFS a file of another node
    may be invisible for a minute. A manifest that stays invisible is said, and its run counts as not ended.
    """
    keys = list(keys)
    ends = {key: reported[key].status for key in keys if key in reported}
    hidden = [key for key in ends if not _visible(reported[key], folder)]
    waited = 0.0
    while hidden and waited < VISIBLE_SECONDS:
        if waited < WORD_SECONDS <= waited + LOOK_SECONDS:
            say(f"waiting until the results of {len(hidden)} runs can be read here (at most {VISIBLE_SECONDS:.0f} s)")
        sleep(LOOK_SECONDS)
        waited += LOOK_SECONDS
        hidden = [key for key in hidden if not _visible(reported[key], folder)]
    for key in hidden:
        say(
            f"{folder.run(key).path}: its trainer has written {ENDS[ends[key]]}, and {VISIBLE_SECONDS:.0f} s later it "
            "cannot be read here. Do all nodes see the same folder under this path (recipe key storage)?"
        )
        del ends[key]
    silent = {key: folder.run(key).ended() for key in keys if key not in ends and key not in hidden}
    return ends | {key: end for key, end in silent.items() if end is not None}


def _visible(end: RunEnd, folder: SweepFolder) -> bool:
    """Return whether the folder of the run shows this end, with the seal that its trainer reported."""
    run = folder.run(end.key)
    refresh(run.path, is_mark)
    if run.ended() != end.status:
        return False
    try:
        return bool(read_sealed(run.path / ENDS[end.status]).get("seal") == end.seal)
    except DamagedRunError:
        return False
