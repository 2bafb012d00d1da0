"""The quick part, which every sweep runs itself: storage, the address of Ray and room on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.cluster.session.address import check_address, named_address
from orchestrator.doctor.check import Check, guarded, ok
from orchestrator.doctor.facts import room_of
from orchestrator.doctor.machines import room
from orchestrator.paths import storage_folder
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.trial import StorageTrial, try_here

OnOtherNodes = Callable[[Callable[[Path], Any], Path], list[Any]]


def try_storage_of(spec: SweepSpec) -> Path:
    """Try every call that a commit and a lease need; return the folder. InputError names the call that fails."""
    folder = storage_folder(spec.storage)
    try_here(folder)
    return folder


def try_ray_of(spec: SweepSpec) -> str:
    """Return in words where packs would run; InputError if RAY_ADDRESS names no Ray that answers."""
    if spec.cluster.kind == "local":
        return "cluster.kind=local needs no Ray"
    check_address()
    address = named_address()
    return f"a Ray answers at {address}" if address else "no cluster is named, so a sweep starts a Ray on this machine"


def try_from_nodes(on_other_nodes: OnOtherNodes, storage: Path) -> int:
    """Try the storage from every other node, which has to see the driver's file and lock; return how many tried.

    InputError names the node and the remedy.
    """
    with StorageTrial(storage) as trial:
        answers = on_other_nodes(trial.from_worker, storage)
        for answer in answers:
            trial.check(answer)
    return len(answers)


def remarks_on_room(spec: SweepSpec, folder: Path) -> list[str]:
    """Return a line for each thing of which this machine has too little; of /dev/shm only if ranks exchange there."""
    here = room_of((str(folder),))
    checks = room({"this machine": here if spec.cluster.workers > 1 else replace(here, shm=None)})
    return [f"{check.message}. {check.remedy}" for check in checks if check.status != "ok"]


def storage(spec: SweepSpec) -> list[Check]:
    """Check the storage from this machine."""

    def tried() -> Iterator[Check]:
        yield ok("storage", f"{try_storage_of(spec)} holds every call that a commit and a lease need")

    return guarded("storage", tried, "Give another folder: storage=FOLDER")


def ray(spec: SweepSpec) -> list[Check]:
    """Check the address of Ray."""

    def tried() -> Iterator[Check]:
        yield ok("ray", try_ray_of(spec))

    return guarded("ray", tried, "Unset RAY_ADDRESS, or start a Ray: ray start --head")
