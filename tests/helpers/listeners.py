"""The ports that processes listen on beyond loopback, and whether they answer somebody who has no token."""

from __future__ import annotations

import ipaddress
import os
import urllib.error
import urllib.request
from dataclasses import dataclass

import psutil

SECONDS = 5
METHODS = (
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
    "/ray.rpc.RayletDriver/ClusterInfo",
    "/ray.rpc.ReporterService/GetTraceback",
)
"""One method of each service of Ray's. (`RaySyncer/StartSync` is left out: without a token it ends gcs and raylet.)"""
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Listener:
    """A port of a process beyond loopback."""

    address: str
    port: int
    process: str


def beyond_loopback(root: int) -> set[Listener]:
    """Return the listeners beyond loopback of a process and of all its descendants."""
    try:
        family = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
        names = {process.pid: process.name() for process in family}
    except psutil.NoSuchProcess:
        return set()
    return {
        Listener(line.laddr.ip, line.laddr.port, names[line.pid])
        for line in psutil.net_connections("tcp")
        if line.status == psutil.CONN_LISTEN and line.pid in names and not _is_loopback(line.laddr.ip)
    }


def _is_loopback(text: str) -> bool:
    address = ipaddress.ip_address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def answer(listener: Listener) -> str:
    """Return how the port answers somebody without a token: "refuses", "metrics", or what it gave away."""
    host = "127.0.0.1" if listener.address in ("::", "0.0.0.0") else listener.address.removeprefix("::ffff:")
    answered = _http(f"http://{host}:{listener.port}")
    return _grpc(f"{host}:{listener.port}") if answered is None else answered


def _http(url: str) -> str | None:
    """Return how a server of HTTP answers; None if the port speaks no HTTP/1."""
    try:
        with _DIRECT.open(f"{url}/api/jobs/", timeout=SECONDS) as page:
            return "metrics" if page.read(6) == b"# HELP" else f"{url} answers {page.status}"
    except urllib.error.HTTPError as error:
        return "refuses" if error.code == 401 else f"{url} answers {error.code}"
    except Exception:
        return None


def _grpc(target: str) -> str:
    """Return how a server of gRPC answers: it refuses if one of its methods does, and none answers."""
    import grpc

    codes = set()
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(target, options=options) as channel:
        for method in METHODS:
            try:
                channel.unary_unary(method)(b"", timeout=SECONDS)
                return f"{target} answers {method}"
            except grpc.RpcError as error:
                codes.add(error.code().name)
    return "refuses" if "UNAUTHENTICATED" in codes and codes <= {"UNAUTHENTICATED", "UNIMPLEMENTED"} else str(codes)


def clean_environment(**variables: str) -> dict[str, str]:
    """Return the environment without Ray's variables and proxies, and with these variables."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RAY_") and not name.lower().endswith("_proxy")
    }
    return kept | variables
