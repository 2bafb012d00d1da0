"""Three hosts on one machine: network namespaces on a bridge, each with processes, an sshd and memory of its own.

Files are shared, as on machines that mount one file system; `/tmp/ray`, `/dev/shm` and the home folder belong to each
host. No host can resolve the name of another host. Needs root, and Debian's iproute2, openssh-server and rsync.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

TOOLS = ("ip", "unshare", "sshd", "ssh", "ssh-keygen", "rsync")
NUMBERS = (1, 2, 3)
SECONDS = 20.0  # for a host to answer over ssh
OPTIONS = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=5")


def missing() -> str | None:
    """Return why this machine cannot have hosts; None if it can."""
    if os.geteuid():
        return "needs root for network namespaces"
    lacking = [tool for tool in TOOLS if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if lacking:
        return f"needs {', '.join(lacking)}: apt-get install iproute2 openssh-server rsync"
    return None


class Hosts:
    """The hosts h1, h2 and h3, reachable from this machine by their addresses.

    ``folder`` keeps their keys and logs. ``net`` are the first three numbers of their addresses, which no other running
    test may have. The hosts ``on_bad_wires`` are connected by a wire that `disturb` makes worse.
    """

    def __init__(self, folder: Path, net: str = "10.98.7", on_bad_wires: Sequence[int] = ()) -> None:
        self._on_bad_wires = frozenset(on_bad_wires)
        self.folder, self.net, self.key = folder, net, folder / "key"
        self._bridge, self._hosts = f"br{net.replace('.', '')}"[:15], dict[int, subprocess.Popen[bytes]]()
        self._wires: dict[int, subprocess.Popen[bytes]] = {}

    def address(self, number: int) -> str:
        """Return the address of a host, 1 to 3."""
        return f"{self.net}.{number}"

    def up(self, numbers: Sequence[int] = NUMBERS) -> None:
        """Start the hosts with these numbers, and return when each answers; remove what a killed test has left."""
        for number in NUMBERS:
            self._remove(number)
        _run("ip", "link", "del", self._bridge, check=False)
        _run("ip", "link", "add", self._bridge, "type", "bridge")
        _run("ip", "addr", "add", f"{self.net}.254/24", "dev", self._bridge)
        _run("ip", "link", "set", self._bridge, "up")
        for name in ("key", "hostkey"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name))
        Path("/run/sshd").mkdir(exist_ok=True)
        Path("/tmp/ray").mkdir(exist_ok=True)
        for number in numbers:
            self.start(number)

    def start(self, number: int) -> None:
        """Start one host, also again after `kill`, and return when it answers."""
        name, inner, outer = f"{self._bridge}h{number}"[-13:], "eth0", f"{self._bridge}v{number}"[-13:]
        _run("ip", "netns", "add", name)
        mac = f"02:00:00:00:00:0{number}"  # of the host, so that no neighbour remembers another after a restart
        if number in self._on_bad_wires:
            self._lay_bad_wire(number, name, inner, outer, mac)
        else:
            _run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "address", mac, "netns", name)
        _run("ip", "link", "set", outer, "master", self._bridge, "up")
        _run("ip", "-n", name, "addr", "add", f"{self.address(number)}/24", "dev", inner)
        for device in (inner, "lo"):
            _run("ip", "-n", name, "link", "set", device, "up")
        own, home = (self.folder / f"{kind}{number}" for kind in ("ray", "home"))
        for folder in (own, home / "written", home / "work"):
            folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / f"sshd{number}.conf"
        config.write_text(
            f"Port 22\nListenAddress {self.address(number)}\nHostKey {self.folder}/hostkey\n"
            f"AuthorizedKeysFile {self.key}.pub\nPidFile none\nStrictModes no\nPermitRootLogin yes\n"
            "PasswordAuthentication no\nUsePAM no\n"
        )
        private = (
            f"lowerdir={Path.home()},upperdir={home}/written,workdir={home}/work"  # reads the user's, writes its own
        )
        script = (
            f"mount --bind '{own}' /tmp/ray && mount -t tmpfs -o size=2g tmpfs /dev/shm && "
            f"mount -t overlay overlay -o '{private}' '{Path.home()}' && hostname h{number} && "
            f"exec $(command -v sshd) -D -f '{config}'"
        )
        own_world = ("--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
        with (self.folder / f"sshd{number}.log").open("ab") as log:
            command = ["ip", "netns", "exec", name, "unshare", *own_world, "bash", "-c", script]
            environment = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
            self._hosts[number] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        deadline = time.monotonic() + SECONDS
        while self.ssh(number, "true", check=False).returncode:
            assert time.monotonic() < deadline, (self.folder / f"sshd{number}.log").read_text()
            time.sleep(0.3)

    def kill(self, number: int) -> None:
        """Let a host vanish with all of its processes, as a machine that loses its power."""
        host = self._hosts.pop(number)
        host.send_signal(signal.SIGKILL)
        host.wait()
        self._remove(number)

    def down(self) -> None:
        """End all hosts and the bridge."""
        for number in list(self._hosts):
            self.kill(number)
        _run("ip", "link", "del", self._bridge, check=False)

    def ssh(
        self, number: int, command: str, *, check: bool = True, limit: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host as a user would; AssertionError with its output if it fails."""
        options = [word for option in OPTIONS for word in ("-o", option)]
        words = ["ssh", *options, "-i", str(self.key), f"root@{self.address(number)}", command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=limit, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def disturb(self, number: int, *, delay: float = 0.0, loss: float = 0.0, cut: bool = False) -> None:
        """Make the bad wire of a host delay each frame by seconds, lose this share of the frames, or carry none."""
        draft = self.folder / f"wire{number}.new"
        draft.write_text(json.dumps({"delay": delay, "loss": loss, "cut": cut}))
        draft.replace(self.folder / f"wire{number}.json")

    def _lay_bad_wire(self, number: int, name: str, inner: str, outer: str, mac: str) -> None:
        end = f"{self._bridge}w{number}"[-13:]
        self.disturb(number)
        program = [sys.executable, str(Path(__file__).with_name("wire.py")), end, outer]
        self._wires[number] = subprocess.Popen([*program, str(self.folder / f"wire{number}.json")])
        deadline = time.monotonic() + SECONDS
        while not (Path("/sys/class/net") / outer).exists():  # made after the other end
            assert time.monotonic() < deadline, f"no device {outer}"
            time.sleep(0.05)
        _run("ip", "link", "set", end, "netns", name)
        _run("ip", "-n", name, "link", "set", end, "name", inner, "address", mac)

    def _remove(self, number: int) -> None:
        """Remove the network of a host that has no process."""
        if wire := self._wires.pop(number, None):
            wire.kill()
            wire.wait()
        _run("ip", "link", "del", f"{self._bridge}v{number}"[-13:], check=False)
        _run("ip", "netns", "del", f"{self._bridge}h{number}"[-13:], check=False)


def _run(*words: str, check: bool = True) -> None:
    environment = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert not check or done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
