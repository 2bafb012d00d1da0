"""A cluster of three hosts that a user makes with `ray up deploy/local.yaml`, and uses through jobs."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster.hosts import Hosts
from tests.helpers.places import ROOT

RAY = (sys.executable, "-m", "ray.scripts.scripts")
UP_SECONDS, NODES_SECONDS, JOB_SECONDS = 180, 120, 400


class UserCluster:
    """Ray on three `Hosts`: h1 is the head, h2 and h3 are workers with one processor each.

    The home folder of the user is ``folder``/user; nothing of the machine's own home is read or written.
    """

    def __init__(self, folder: Path, hosts: Hosts | None = None) -> None:
        self.folder, self.hosts = folder, hosts or Hosts(folder)
        self.file, self._dashboard = folder / "local.yaml", None
        home = folder / "user"
        home.mkdir()
        own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        own |= {"HOME": str(home), "RAY_AUTH_MODE": "token", "RAY_UP_enable_autoscaler_v2": "0"}
        self.environment = own | {"PATH": f"{Path(sys.executable).parent}:{own['PATH']}:/usr/sbin"}

    def up(self) -> None:
        """Start the hosts, make the token, and call `ray up`; return when the cluster has all three nodes."""
        self.hosts.up()
        self.file.write_text(self._configured((ROOT / "deploy" / "local.yaml").read_text()))
        self.ray("get-auth-token", "--generate")
        self.ray("up", "-y", str(self.file), limit=UP_SECONDS)
        self.wait_for_nodes(3)
        self._port = _free_port()
        words = (*RAY, "dashboard", str(self.file), "--port", str(self._port), "--remote-port", "8265")
        with (self.folder / "dashboard.log").open("w") as log:
            self._dashboard = subprocess.Popen(
                words, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def down(self) -> None:
        """Call `ray down`, and end all hosts."""
        try:
            if self._dashboard:
                os.killpg(self._dashboard.pid, signal.SIGKILL)
                self._dashboard.wait()
            if self.file.exists():
                self.ray("down", "-y", str(self.file), limit=UP_SECONDS)
        finally:
            self.hosts.down()

    def ray(self, *words: str, limit: float = 60) -> str:
        """Call Ray's command line as the user; return what it prints. AssertionError if it fails."""
        told = subprocess.run(
            (*RAY, *words),
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
        assert told.returncode == 0, f"ray {' '.join(words)}: {told.stdout}{told.stderr}"
        return told.stdout + told.stderr

    def on_head(self, *words: str) -> str:
        """Run Ray's command line on the head; return what it prints."""
        start = f". {ROOT}/.venv/bin/activate && RAY_AUTH_MODE=token"
        return self.hosts.ssh(1, f"{start} ray {' '.join(words)}", check=False).stdout

    def wait_for_nodes(self, wanted: int) -> None:
        """Return when so many nodes are alive."""
        deadline, told = time.monotonic() + NODES_SECONDS, ""
        while sum(map(int, re.findall(r"^ (\d+) local\.cluster\.node$", told, re.MULTILINE))) < wanted:
            assert time.monotonic() < deadline, told
            time.sleep(1)
            told = self.on_head("status")

    def submit(self, identity: str, *words: str, wait: bool = True, **variables: str) -> str:
        """Submit `python jobs/sweep.py WORDS` from the checkout; return the job's output if it is waited for."""
        environment = {"RAY_AUTH_MODE": "token", **variables}
        env = " ".join(f'"{name}": "{value}",' for name, value in environment.items()).rstrip(",")
        return self.ray(
            "job", "submit", "--address", self.address, "--submission-id", identity, "--working-dir", str(ROOT),
            "--runtime-env-json", f'{{"env_vars": {{{env}}}}}', *(() if wait else ("--no-wait",)),
            "--", "python", "jobs/sweep.py", *words, limit=JOB_SECONDS,
        )  # fmt: skip

    def job(self, verb: str, identity: str) -> str:
        """Call `ray job VERB`: status, logs or stop."""
        return self.ray("job", verb, "--address", self.address, identity)

    @property
    def address(self) -> str:
        """The address of the dashboard, brought here over SSH."""
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                return f"http://127.0.0.1:{self._port}"
            except OSError:
                assert time.monotonic() < deadline, (self.folder / "dashboard.log").read_text()
                time.sleep(0.5)

    def _configured(self, text: str) -> str:
        """Set all values of deploy/local.yaml that a user has to set."""
        changes = {
            "192.0.2.1": self.hosts.address(1), "192.0.2.2": self.hosts.address(2), "192.0.2.3": self.hosts.address(3),
            "ssh_user: SET-THIS": "ssh_user: root", "~/.ssh/id_ed25519": str(self.hosts.key),
            "/shared/SET-THIS-d2lora": str(ROOT),
            "--address=$RAY_HEAD_IP:6379": "--address=$RAY_HEAD_IP:6379 --num-cpus=1",  # else each has all processors
        }  # fmt: skip
        for old, new in changes.items():
            assert old in text, f"deploy/local.yaml has no {old}"
            text = text.replace(old, new)
        return text


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
