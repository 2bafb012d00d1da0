"""An S3 server of this machine for tests (moto), an empty bucket in it, and machines with near copies of their own."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import objects

BUCKET = "sweeps"


class Server:
    """The server: while ``away`` is set it answers every request with 503."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self.away = threading.Event()
        application = DomainDispatcherApplication(create_backend_app)

        def answer(environment: dict[str, Any], start: Any) -> Iterable[bytes]:
            if self.away.is_set():
                start("503 Service Unavailable", [("Content-Length", "0")])
                return [b""]
            return application(environment, start)

        self._server = make_server("127.0.0.1", 0, answer, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Return the server of this session."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def store(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Let this process and its children use the server; yield fsspec's file system for it."""
    server.away.clear()
    variables = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server.address,
        objects.NEAR_HOME: str(tmp_path / "near"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    objects._store.cache_clear()
    files = objects._store("s3", os.getpid())
    if files.exists(BUCKET):
        files.rm(BUCKET, recursive=True)
    files.mkdir(BUCKET)
    yield files
    server.away.clear()
    objects._store.cache_clear()


def machine(name: str) -> Path:
    """Return the near copy of the storage ``s3://sweeps/all`` on the machine ``name``."""
    home = Path(os.environ[objects.NEAR_HOME])
    return home / name / objects.NEAR / "s3" / BUCKET / "all"
