"""An S3 server of this machine for tests (moto), with an empty bucket, and near copies in a temporary folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import objects

BUCKET = "sweeps"


class Server:
    """The server; it can be away for a while."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self.address = "http://{}:{}".format(*self._server.get_host_and_port())

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def store(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Let this process and its children use the server; yield fsspec's file system for it."""
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
    objects._store.cache_clear()


def near() -> Path:
    """Return the near copy of the bucket's prefix ``all``."""
    return objects.near_folder(f"s3://{BUCKET}/all")
