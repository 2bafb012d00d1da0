"""Pure: checks of the facts of each machine, and of how the machines of one cluster agree."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.doctor.check import Check, fail, ok, warn
from orchestrator.doctor.facts import Facts, Room
from orchestrator.wording import count

GIB = 2**30
DISK = {"warn": 2 * GIB, "fail": GIB // 2}
SHM, HANDLES, FREE = GIB, 4096, 0.9
CLOCK = {"warn": 1.0, "fail": 30.0}


def versions(machines: Sequence[Facts]) -> Iterator[Check]:
    """Yield whether every machine has the same versions and the same code."""
    for name in machines[0].versions:
        by_version: dict[str, list[str]] = defaultdict(list)
        for machine in machines:
            by_version[machine.versions.get(name, "") or "missing"].append(machine.place)
        if len(by_version) > 1 or "missing" in by_version:
            said = "; ".join(f"{version} on {', '.join(places)}" for version, places in sorted(by_version.items()))
            what = "the code of this project differs" if name == "code" else f"{name} differs or is missing"
            remedy = (
                "Submit with `ray job submit --working-dir .`, which gives every node this checkout"
                if name == "code"
                else "Install the versions of constraints.txt on every node: make .venv/.installed"
            )
            yield fail("versions", f"{what}: {said}", remedy)
            return
    first = machines[0].versions
    said = ", ".join(f"{name} {value}" for name, value in first.items())
    yield ok("versions", f"{said}; equal on {count(len(machines), 'machine')}")


def room(rooms: Mapping[str, Room]) -> Iterator[Check]:
    """Yield whether each machine has room on its disks and in /dev/shm, and may open files enough."""
    short = [check for place, one in rooms.items() for check in _room(place, one)]
    yield from short
    if not short:
        least = min((free for one in rooms.values() for free in one.disk.values()), default=0)
        yield ok("room", f"at least {least / GIB:.0f} GiB free on disks; /dev/shm and file handles suffice")


def _room(place: str, machine: Room) -> Iterator[Check]:
    for folder, free in machine.disk.items():
        said = f"{place} has {free / GIB:.1f} GiB free at {folder}"
        remedy = "Make room there, or give another folder: storage=FOLDER, TMPDIR=FOLDER"
        if free < DISK["fail"]:
            yield fail("room", said, remedy)
        elif free < DISK["warn"]:
            yield warn("room", said, remedy)
    if machine.shm is not None and machine.shm < SHM:
        said = f"{place} has {machine.shm / GIB:.2f} GiB free in /dev/shm, by which ranks of one machine exchange"
        yield warn("room", said, "Start the container with --shm-size=2g or more, or mount /dev/shm larger")
    if 0 <= machine.handles < HANDLES:
        said = f"{place} lets a process open {machine.handles} files"
        yield warn("room", said, "Give `ulimit -n 65536` before `ray start`")


def clocks(offsets: Mapping[str, tuple[float, float]]) -> Iterator[Check]:
    """Yield how far the clock of each machine is from the driver's.

    ``offsets`` has by machine the difference in seconds and half of the round trip, within which it is uncertain.
    """
    worst = 0.0
    for place, (offset, uncertain) in offsets.items():
        apart = max(0.0, abs(offset) - uncertain)
        worst = max(worst, apart)
        if apart <= CLOCK["warn"]:
            continue
        said = f"the clock of {place} is {abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} the driver's"
        remedy = "Let NTP set it: timedatectl set-ntp true (chronyc tracking shows how far it is)"
        yield (fail if apart > CLOCK["fail"] else warn)("clocks", said, remedy)
    if offsets and worst <= CLOCK["warn"]:
        yield ok("clocks", f"{count(len(offsets), 'machine')} within {CLOCK['warn']:g} s of the driver")


def names(machines: Sequence[Facts]) -> Iterator[Check]:
    """Yield the machines whose own name leads nowhere or to themselves alone; a trainer uses their address then."""
    odd = [machine for machine in machines if _leads_astray(machine)]
    for machine in odd:
        where = machine.resolves_to or "nothing"
        said = f"the name of {machine.place} leads to {where} there; trainers use its address instead"
        remedy = (
            f"Nothing has to be done; a line `{machine.address} {machine.host}` in /etc/hosts of every node is cleaner"
        )
        yield warn("names", said, remedy)
    if not odd:
        yield ok("names", f"the names of {count(len(machines), 'machine')} lead to their addresses")


def _leads_astray(machine: Facts) -> bool:
    """Return whether other machines cannot use the address to which the name leads."""
    if machine.resolves_to is None:
        return True
    return bool(machine.address) and (
        ipaddress.ip_address(machine.resolves_to).is_loopback and not ipaddress.ip_address(machine.address).is_loopback
    )


def gpus(
    machines: Sequence[Facts], wanted: float, offered: Mapping[str, float], *, none_trains: bool = False
) -> Iterator[Check]:
    """Yield whether GPUs are there, free and seen by torch, with one driver and one NCCL.

    ``wanted`` is what the recipe gives each worker. ``offered`` has by address the GPUs that Ray counts there.
    ``none_trains`` says that no node of a cluster can train yet, as before an autoscaler has brought one.
    """
    having = [machine for machine in machines if machine.gpus]
    if not having:
        if wanted and none_trains and not any(offered.values()):
            said = "the recipe gives workers GPUs, and no node that trains is up yet"
            remedy = "An autoscaler brings nodes when a sweep asks for them: ask again then; without one add a node"
            yield warn("gpus", said, remedy)
        elif wanted or any(offered.values()):
            remedy = "Install NVIDIA's driver on the GPU nodes, or train on CPUs: cluster.gpus_per_worker=0"
            yield fail("gpus", "the recipe or Ray counts on GPUs, and no machine has a driver that shows one", remedy)
        else:
            yield ok("gpus", "none here, and none is asked for")
        return
    faults = [one for machine in having for one in _gpus(machine, wanted, offered.get(machine.address))]
    faults += _agree(having)
    yield from faults
    if not faults:
        total = sum(len(machine.gpus) for machine in having)
        first = having[0]
        said = f"{count(total, 'GPU')} ({first.gpus[0].name}), driver {first.gpus[0].driver}, CUDA {first.cuda}"
        yield ok("gpus", f"{said}, NCCL {first.nccl}, memory free")


def _gpus(machine: Facts, wanted: float, offered: float | None) -> Iterator[Check]:
    there = len(machine.gpus)
    if machine.torch_gpus is not None and machine.torch_gpus < there:
        said = f"{machine.place} has {count(there, 'GPU')}, and torch sees {machine.torch_gpus}"
        remedy = f"Install a torch for CUDA whose version driver {machine.gpus[0].driver} knows"
        yield (fail if wanted else warn)("gpus", said, remedy)  # training on CPUs does not need them
    if offered is not None and offered > there:
        said = f"Ray counts {offered:g} GPUs on {machine.place}, and its driver shows {there}"
        yield fail("gpus", said, f"Start Ray there with --num-gpus={there}, or restart a GPU that has fallen off")
    for number, gpu in enumerate(machine.gpus):
        if gpu.total and gpu.free < FREE * gpu.total:
            said = f"GPU {number} of {machine.place} has {gpu.free:,} of {gpu.total:,} MiB free"
            yield warn("gpus", said, "End what uses it (`nvidia-smi`), unless it is a sweep of yours that runs now")


def _agree(machines: Sequence[Facts]) -> Iterator[Check]:
    for what, values in {
        "driver": {machine.gpus[0].driver: machine.place for machine in machines},
        "NCCL": {machine.nccl: machine.place for machine in machines},
    }.items():
        if len(values) > 1:
            said = "; ".join(f"{value or 'none'} on {place}" for value, place in values.items())
            yield warn("gpus", f"{what} differs: {said}", "Start all nodes from one image")
