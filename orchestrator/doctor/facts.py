"""What one machine says of itself: versions, code, room, limits, its name and its GPUs. Nothing heavy is imported."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from orchestrator.machine.code import code_digest

LIBRARIES = ("ray", "torch", "transformers", "deepspeed", "mlflow")
SECONDS = 60.0
SMI = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free,driver_version", "--format=csv,noheader,nounits"]
TORCH = (
    "import os, torch; words = torch.cuda.device_count(), torch.version.cuda, "
    "'.'.join(map(str, torch.cuda.nccl.version())) if torch.distributed.is_nccl_available() else None; "
    "os.write(1, ' '.join(map(str, words)).encode())"
)
Run = Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class Gpu:
    """One GPU as its driver sees it; memory in MiB."""

    name: str
    total: int
    free: int
    driver: str


@dataclass(frozen=True)
class Room:
    """The free bytes of /dev/shm (None without one) and of each folder's disk, and the limit of open files."""

    shm: int | None
    handles: int
    disk: dict[str, int]


@dataclass(frozen=True)
class Facts:
    """One machine. ``versions`` has an empty word for a library that is missing.

    ``resolves_to`` is the address to which the machine's own name leads there, None if it leads nowhere. ``torch_gpus``
    is how many GPUs torch can use, None where there is no driver to ask.
    """

    host: str
    versions: dict[str, str]
    room: Room
    resolves_to: str | None
    address: str = ""
    gpus: tuple[Gpu, ...] = ()
    torch_gpus: int | None = None
    cuda: str = ""
    nccl: str = ""

    @property
    def place(self) -> str:
        """The machine in words."""
        return f"{self.host} ({self.address})" if self.address and self.address != self.host else self.host


@dataclass(frozen=True)
class Gather:
    """A function that gathers the facts of the machine on which it is called; Ray can pickle it.

    ``folders`` are the folders whose free room counts, beside Ray's and the temporary one.
    """

    folders: tuple[str, ...] = ()

    def __call__(self, _storage: Path | None = None) -> Facts:
        """Return the facts of this machine."""
        return gather(self.folders, _run)


def gather(folders: Sequence[str], run: Run) -> Facts:
    """Return the facts of this machine; ``run`` starts a program and returns what it prints, OSError if it cannot."""
    gpus = _gpus(run)
    count, cuda, nccl = _torch(run) if gpus else (None, "", "")
    host = socket.gethostname()
    return Facts(
        host=host,
        versions={
            "python": platform.python_version(),
            **{name: _version(name) for name in LIBRARIES},
            "code": code_digest(),
        },
        room=room_of(folders),
        resolves_to=_resolved(host),
        gpus=gpus,
        torch_gpus=count,
        cuda=cuda,
        nccl=nccl,
    )


def room_of(folders: Sequence[str]) -> Room:
    """Return the room of this machine at these folders and at the temporary one; it takes well below a millisecond."""
    places = (tempfile.gettempdir(), *folders)
    disk = {place: free for place in places if (free := _free(place)) is not None}
    handles = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # the hard limit, up to which Ray raises its own
    return Room(_free("/dev/shm"), handles, disk)  # noqa: S108 - looked at, not written to # nosec B108


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def _free(place: str) -> int | None:
    """Return the free bytes at a place, or of the nearest folder above it; None if there is none."""
    path = Path(place)
    there = next((folder for folder in (path, *path.parents[:-1]) if folder.exists()), None)
    try:
        return shutil.disk_usage(there).free if there else None
    except OSError:
        return None


def _resolved(host: str) -> str | None:
    try:
        return str(socket.getaddrinfo(host, None, socket.AF_INET)[0][4][0])
    except OSError:
        return None


def _gpus(run: Run) -> tuple[Gpu, ...]:
    """Return the GPUs of which the driver knows; none where there is no driver."""
    try:
        lines = run(SMI).splitlines()
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [[word.strip() for word in line.split(",")] for line in lines if line.count(",") == 3]
    return tuple(Gpu(name, _number(total), _number(free), driver) for name, total, free, driver in rows)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _torch(run: Run) -> tuple[int | None, str, str]:
    """Return how many GPUs torch sees in a process of its own, its CUDA and its NCCL."""
    try:
        count, cuda, nccl = run([sys.executable, "-c", TORCH]).split()
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0, "", ""
    return int(count), cuda, nccl


def _run(words: Sequence[str]) -> str:
    """Start a program that sees all GPUs, as a process of Ray without a GPU of its own does not."""
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=SECONDS, env=environment)
    return done.stdout
