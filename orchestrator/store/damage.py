"""Runs whose end is damaged: a few are trained again; many mean that the storage is at fault, and all stay."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence

from orchestrator.errors import DamagedRunError, InputError
from orchestrator.store.run_folder import RunFolder
from orchestrator.wording import count

FEW, SHARE = 3, 0.1  # this many damaged runs, or this share of the runs that have ended, are trained again
PAUSE_SECONDS = 0.5  # before the second look: a file of a network file system may be complete a moment later


def take_back_damaged(folders: Sequence[RunFolder], say: Callable[[str], None]) -> None:
    """Set the end of each run whose files are damaged aside, and say so; the run is then trained again.

    A damaged end is read twice. InputError if more runs are damaged than a few: then nothing is set aside, because
    whole runs would be trained again that a sick storage only shows wrongly. OSError if a file cannot be read.
    """
    suspects = [folder for folder in folders if _is_suspect(folder)]
    if not suspects:
        return
    time.sleep(PAUSE_SECONDS)
    for folder in suspects:
        folder.fetch_again()
    damaged = {folder: damage for folder in suspects if (damage := _damage(folder))}
    ended = sum(folder.ended() is not None for folder in folders)
    if len(damaged) > max(FEW, SHARE * ended):
        raise InputError(_refusal(damaged, ended))
    for folder, damage in damaged.items():
        say(f"damaged: {damage} It is trained again.")
        folder.discard()


def _is_suspect(folder: RunFolder) -> bool:
    try:
        return _damage(folder) is not None
    except OSError:  # the second look may succeed; if it fails too, its error ends the sweep
        return True


def _damage(folder: RunFolder) -> str | None:
    """Return what is wrong with the end of the run; None if the end is whole, or if the run has not ended."""
    try:
        folder.check()
    except DamagedRunError as error:
        return str(error)
    return None


def _refusal(damaged: dict[RunFolder, str], ended: int) -> str:
    first, damage = next(iter(damaged.items()))
    remove = shlex.join(["rm", "-r", *(str(folder.path) for folder in damaged)])
    return (
        f"{first.path.parent}: {count(len(damaged), 'run')} of the {ended} that have ended are damaged, for example: "
        f"{damage} So many at once come from the storage rather than from a run, so nothing was changed. Mend or mount "
        f"the storage again, and give the same command. To give these results up and train the runs again: {remove}"
    )
