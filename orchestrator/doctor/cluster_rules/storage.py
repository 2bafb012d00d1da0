"""Rules of shared storage: how a network file system is mounted, and that no SQLite database lies on it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from orchestrator.doctor.cluster_rules.fault import Config, Fault, commands
from orchestrator.doctor.cluster_rules.starting import SETUPS, STARTS

MOUNT = re.compile(r"\bmount (?:-\S+ \S+ )*?-t (?P<kind>nfs4?|efs)\b(?P<rest>[^;&|)]*)")
OPTIONS = re.compile(r"(?:^|\s)-o\s+(\S+)")
HOME, URI = re.compile(r"\bD2LORA_HOME=(\S+)"), re.compile(r"\bMLFLOW_TRACKING_URI=['\"]?(\w+)")
SQLITE = re.compile(r"sqlite:///(/[^\s'\"?]*)")
SERVERS = ("http", "https", "postgresql", "mysql", "mssql")


def storage(config: Config) -> Iterator[Fault]:
    """Yield what is wrong with mounts and with a database on them."""
    every = commands(config, *SETUPS, *STARTS)
    mounts: list[str] = []
    for place, command in every:
        for match in MOUNT.finditer(command):
            words = match["rest"].split()
            mounts += [word for word in words if word.startswith("/")]
            given = OPTIONS.search(match["rest"])
            options = set(given[1].split(",")) if given else set()
            yield from _options(match["kind"], options, "efs." in match["rest"] or match["kind"] == "efs", place)
    for place, command in every:
        yield from _database(command, place, mounts)


def _options(kind: str, options: set[str], efs: bool, place: str) -> Iterator[Fault]:
    if "lookupcache=positive" not in options:
        what = "mounted without lookupcache=positive: a result of another node is missed for up to a minute"
        yield Fault(place, what, "Add lookupcache=positive to the options of the mount")
    if options & {"nolock", "local_lock=all", "local_lock=flock", "soft"}:
        what = "locks stay on one node, or a slow server loses writes"
        yield Fault(place, what, "Mount with hard, and without nolock, local_lock and soft")
    if efs and not (kind == "efs" and "tls" in options):
        what = "EFS without TLS: weights and rows cross the network in the clear"
        yield Fault(
            place, what, "Mount with amazon-efs-utils: mount -t efs -o tls,lookupcache=positive fs-...:/ FOLDER"
        )


def _database(command: str, place: str, mounts: Sequence[str]) -> Iterator[Fault]:
    """Yield a database of SQLite on a network file system, which SQLite's authors advise against."""
    remedy = "Give MLFLOW_TRACKING_URI=http://127.0.0.1:5000 of a server on the head (deploy/mlflow_on_head.sh)"
    what = "SQLite on a network file system loses writes"
    if any(_below(path, mounts) for path in SQLITE.findall(command)):
        yield Fault(place, what, remedy)
    home, uri = HOME.search(command), URI.search(command)
    if home and "--head" in command and _below(home[1], mounts) and not (uri and uri[1] in SERVERS):
        yield Fault(place, f"{what}: D2LORA_HOME={home[1]} puts mlflow.db there", remedy)


def _below(path: str, mounts: Sequence[str]) -> bool:
    return any(PurePosixPath(path.strip("'\"")).is_relative_to(mount) for mount in mounts)
