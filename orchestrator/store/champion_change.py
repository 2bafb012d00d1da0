"""A champion takes the place of another, or comes back: a kill at any instant leaves a whole one in place (ADR 43).

On a file system a change is one exchange of two names, and what a kill leaves undone is finished by `settle` at the
next start: the run keys in the evaluations say which directory belongs where. An object store has no renames. There
files are copied, the evaluation last, and `settle` begins the copying anew.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from orchestrator import objects
from orchestrator.files import exchange, sync_folder
from orchestrator.store.champion import (
    BEFORE,
    EVALUATION,
    GATE,
    NEXT,
    SWAP,
    beside,
    champion_before,
    evaluation_in,
    replaced_by,
    run_key_in,
    up_to_date,
)
from orchestrator.store.rolled_back import RolledBack, memory_of, remember, rolled_back

GONE = ".tmp-gone-"


def next_champion(place: Path, night: str) -> Path:
    """Return where the champion that is to replace the champion in ``place`` is merged."""
    return place.with_name(f"{place.name}{NEXT}{night}")


def move_in(place: Path, new: Path) -> None:
    """Let the champion in ``new`` take the place of the champion in ``place``, which stays reachable beside it.

    The evaluation in ``new`` has the decision of the gate. What is in ``place`` and is no sound champion goes.
    """
    evaluation = evaluation_in(new)
    stays = run_key_in(place) is not None and run_key_in(place) == evaluation[GATE]["standing"]
    _take_place(place, new, _before(place, str(evaluation[GATE]["night"])) if stays else None)


def roll_back(place: Path, day: str) -> RolledBack | None:
    """Bring back the champion that stood before the champion in ``place``; None if there is none.

    The run that leaves is remembered first: so a kill leaves a roll-back that `settle` finishes.
    """
    before, key = champion_before(place), run_key_in(place)
    if before is None or key is None or (back_to := run_key_in(before)) is None:
        return None
    done = RolledBack(key, back_to, day)
    remember(place, [*(row for row in rolled_back(place) if row.run_key != key), done])
    _take_place(place, before, None)
    return done


def settle(place: Path) -> None:
    """Finish what a kill has broken off in `move_in` or `roll_back` of the champion in ``place``."""
    swap, gone = place.with_name(f"{place.name}{SWAP}"), [row.run_key for row in rolled_back(place)]
    if objects.key_of(place):
        for other in (place, *beside(place, NEXT), *beside(place, BEFORE)):
            _fetch_again(other)
    if swap.is_dir() and not place.exists():
        swap.rename(place)
    stands = place.is_dir()
    for other in [*([swap] if swap.is_dir() else []), *beside(place, NEXT)]:
        key = run_key_in(other)
        if key is not None and key not in gone and key == replaced_by(place):
            _keep(other, _before(place, str(evaluation_in(place)[GATE]["night"])), place)
        elif key is not None and key not in gone and stands and replaced_by(other) == run_key_in(place):
            move_in(place, other)
        else:
            drop(other)
    last = next(iter(rolled_back(place)[::-1]), None)
    for other in beside(place, BEFORE) if stands else ():
        if last and run_key_in(place) == last.run_key and run_key_in(other) == last.back_to:
            objects.put(memory_of(place))  # perhaps the kill came before
            _take_place(place, other, None)
        elif run_key_in(other) in gone or run_key_in(other) != replaced_by(place):
            drop(other)


def drop(place: Path) -> None:
    """Delete a champion's directory: it leaves its name in one rename, so no half of it is taken for a champion."""
    objects.remove(place / EVALUATION)
    objects.remove(place)
    if place.is_dir():
        gone = place.with_name(f"{GONE}{place.name}")
        shutil.rmtree(gone, ignore_errors=True)
        place.rename(gone)
        sync_folder(place.parent)
        shutil.rmtree(gone, ignore_errors=True)


def _before(place: Path, night: str) -> Path:
    return place.with_name(f"{place.name}{BEFORE}{night}")


def _take_place(place: Path, other: Path, old: Path | None) -> None:
    """Let ``other`` take the name ``place``; what was there gets the name ``old``, or goes."""
    if objects.key_of(place):
        _take_place_far(place, other, old)
        return
    if not place.exists():
        other.rename(place)
    elif not exchange(other, place):
        swap = place.with_name(f"{place.name}{SWAP}")
        place.rename(swap)
        other.rename(place)
        swap.rename(other)
    sync_folder(place.parent)
    if other.is_dir() and old is not None:
        _keep(other, old, place)
    elif other.is_dir():
        drop(other)


def _keep(other: Path, old: Path, place: Path) -> None:
    """Give ``other``, which stood before the champion in ``place``, its name; there is one such directory per task."""
    for older in beside(place, BEFORE):
        drop(older)
    other.rename(old)
    sync_folder(old.parent)


def _take_place_far(place: Path, other: Path, old: Path | None) -> None:
    """Do in an object store, by copies, what `_take_place` does by renames; every step may be repeated."""
    if old is not None:
        if up_to_date(old, str(run_key_in(place))) is None:
            shutil.rmtree(old, ignore_errors=True)
            shutil.copytree(place, old, copy_function=os.link)
        _put(old)
    draft = place.with_name(f"{GONE}{place.name}")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(other, draft, copy_function=os.link)
    shutil.rmtree(place, ignore_errors=True)
    draft.rename(place)
    _put(place)
    for rest in {other, *beside(place, BEFORE)} - {old}:
        drop(rest)


def _put(place: Path) -> None:
    """Put a champion into the store, its evaluation last, and remove what the store has besides."""
    files = [file for file in sorted(place.rglob("*")) if file.is_file() and file != place / EVALUATION]
    for file in [*files, place / EVALUATION]:
        objects.put(file)
    names = {str(file.relative_to(place)) for file in files} | {EVALUATION}
    for name in objects.sizes(place).keys() - names:
        objects.remove(place / name)


def _fetch_again(place: Path) -> None:
    """Copy a champion anew from the store, unless the near copy is whole: a large file may be of another champion."""
    key = run_key_in(place)
    if key is None or up_to_date(place, key) is None:
        objects.forget(place)
        objects.fetch(place)
