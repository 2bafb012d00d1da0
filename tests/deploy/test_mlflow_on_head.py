"""MLflow on a head wants the password that only its user can read, and stays as it is at a second call."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from orchestrator.errors import InputError
from orchestrator.tracking.mlflow.reach import reach
from tests.helpers.places import ROOT
from tests.helpers.servers import free_port, postgresql

pytestmark = [pytest.mark.slow, pytest.mark.rare]
PASSWORDS = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"


class Head:
    """A head with a home of its own, and a database that is there already."""

    def __init__(self, home: Path, database: str) -> None:
        self.home, self.port = home, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ,
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "MLFLOW_PORT": str(self.port),
            "MLFLOW_STORE": database,
        }

    def start(self, **variables: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(ROOT / "deploy" / "mlflow_on_head.sh")]
        environment = self.environment | variables
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)

    @property
    def pid(self) -> int:
        return int((self.home / ".d2lora-mlflow" / "pid").read_text())

    def stop(self) -> None:
        """End the server and the processes below it."""
        try:
            first = psutil.Process(self.pid)
            family = [first, *first.children(recursive=True)]
        except (OSError, psutil.NoSuchProcess):
            return
        for process in family:
            process.kill()
        psutil.wait_procs(family, 10)


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Head]:
    if find_spec("flask_wtf") is None:
        pytest.skip("flask-wtf is not installed, without which MLflow has no passwords")
    for name in PASSWORDS:
        monkeypatch.delenv(name, raising=False)
    with postgresql() as database:
        head = Head(tmp_path, database)
        try:
            yield head
        finally:
            head.stop()


def test_the_server_wants_the_password_that_only_its_user_can_read(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    done = head.start()
    assert done.returncode == 0, done.stderr
    secrets = [head.home / ".d2lora-mlflow" / name for name in ("auth.ini", "secret_key")]
    credentials = head.home / ".mlflow" / "credentials"
    assert {file.stat().st_mode & 0o777 for file in (*secrets, credentials)} == {0o600}
    listens = {one.laddr.ip for one in psutil.net_connections("tcp") if one.laddr and one.laddr.port == head.port}
    assert listens == {"127.0.0.1"}

    with pytest.raises(InputError, match=r"wants a user and a password\. Set MLFLOW_TRACKING_USERNAME"):
        reach(head.address, "sweep")
    words = dict(line.split(" = ") for line in credentials.read_text().splitlines() if " = " in line)
    for name in PASSWORDS:
        monkeypatch.setenv(name, words[name.lower()])
    assert reach(head.address, "sweep").endswith("the experiment 'sweep' is new")

    first, before = head.pid, credentials.read_text()
    assert head.start().returncode == 0
    assert (head.pid, credentials.read_text()) == (first, before)


def test_a_server_that_refuses_the_host_name_is_told_how_to_admit_it(head: Head) -> None:
    done = head.start(MLFLOW_SERVER_ALLOWED_HOSTS="mlflow.example:5000")
    assert done.returncode == 0, done.stderr
    host = f"127.0.0.1:{head.port}"
    with pytest.raises(
        InputError, match=rf"refuses the host name {host}\. Start its server with --allowed-hosts {host}"
    ):
        reach(head.address, "sweep")
