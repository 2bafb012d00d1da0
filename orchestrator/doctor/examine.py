"""All checks in order: the recipe's own services, this machine or every node of the cluster, and a cluster file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from orchestrator.cluster.session.address import named_address
from orchestrator.doctor import quick
from orchestrator.doctor.check import Check, fail, guarded, ok
from orchestrator.doctor.cluster import cluster, machine_checks, trainers
from orchestrator.doctor.cluster_file import faults_of, read_cluster_file
from orchestrator.doctor.facts import Gather
from orchestrator.doctor.hub import base, real_hub, rows
from orchestrator.doctor.machines import versions
from orchestrator.doctor.tracking import tracking
from orchestrator.errors import InputError
from orchestrator.paths import storage_folder
from orchestrator.recipe.environment import address_in
from orchestrator.recipe.spec import SweepSpec


def examine(spec: SweepSpec | None, cluster_file: Path | None) -> Iterator[Check]:
    """Yield one check after the other; without a recipe those that need none. Nothing is changed or trained."""
    if cluster_file is not None:
        yield from guarded("cluster file", lambda: of_file(cluster_file), "Give a file of `ray up`")
        if spec is None:
            return
    if spec is not None:
        yield from quick.storage(spec)
        hub = real_hub()
        yield from base(spec, hub)
        yield from rows(spec, hub)
    here = named_address() is None or (spec is not None and spec.cluster.kind == "local")
    if here:
        yield from guarded("machine", lambda: this_machine(spec), "Look at the machine")
    else:
        yield from guarded("ray", lambda: _joined(spec), "Look at it with `ray status`")
    uri = spec.tracking.uri if spec else address_in(os.environ)
    if uri:
        yield from tracking(uri, spec.experiment if spec else "Default", shared=not here)


def this_machine(spec: SweepSpec | None) -> Iterator[Check]:
    """Yield the checks of this machine, on which a sweep without a cluster trains."""
    kind = "cluster.kind=local" if spec and spec.cluster.kind == "local" else "RAY_ADDRESS names no cluster"
    yield ok("ray", f"{kind}: a sweep trains on this machine alone")
    facts = [Gather(_folders(spec))()]
    yield from versions(facts)
    yield from machine_checks(facts, {}, _gpus(spec))


def _joined(spec: SweepSpec | None) -> Iterator[Check]:
    """Yield the checks of all nodes of the cluster that RAY_ADDRESS names."""
    from orchestrator.cluster.survey import Survey

    with Survey() as survey:
        yield ok("ray", f"joined the cluster at {named_address()}")
        folders = _folders(spec)
        yield from cluster(survey, Path(folders[0]) if folders else None, _gpus(spec))
        if spec:
            yield from trainers(survey.resources, spec.cluster)


def _folders(spec: SweepSpec | None) -> tuple[str, ...]:
    """Return the folder of the storage, whose room counts; none where the check of the storage has failed."""
    try:
        return (str(storage_folder(spec.storage)),) if spec else ()
    except InputError:
        return ()


def _gpus(spec: SweepSpec | None) -> float:
    return float(spec.cluster.gpus_per_worker) if spec else 0.0


def of_file(path: Path) -> Iterator[Check]:
    """Yield a check for each fault of a file of `ray up`: a placeholder is a failure too, because nothing starts so."""
    faults = faults_of(read_cluster_file(path))
    for fault in faults:
        yield fail("cluster file", f"{path}: {fault.place}: {fault.what}", fault.remedy)
    if not faults:
        yield ok("cluster file", f"{path}: opens, trusts and loses nothing that the rules know of")
