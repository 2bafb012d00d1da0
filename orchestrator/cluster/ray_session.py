"""A Ray cluster to work on: the one that is there, or a local one that ends with this driver."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.cluster.address import check_address, named_address
from orchestrator.errors import InputError

WORKER_ENV = {
    "TOKENIZERS_PARALLELISM": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_OFFLINE": "1",  # data and models are fetched by the driver, before any trial
    "PYTHONWARNINGS": "ignore::FutureWarning",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how soon Train sees that a trainer has ended
}
LOCAL_ENV = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}  # this machine is not taken away; a process less a trainer
ELSEWHERE = (  # a user's variables that would lead a Ray of this driver's own to another cluster
    "RAY_ADDRESS",
    "RAY_API_SERVER_ADDRESS",
    "RAY_REDIS_ADDRESS",
    "RAY_NAMESPACE",
    "RAY_OVERRIDE_DASHBOARD_URL",
    "RAY_JOB_CONFIG_JSON_ENV_VAR",
    "RAY_RUNTIME_ENV_HOOK",
)
PROXIES = ("no_proxy", "NO_PROXY")
OURS = (*ELSEWHERE, *PROXIES, "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")  # put back when the Ray ends


@dataclass
class Session:
    """A connection to Ray; ``temp`` is set where this driver has started the cluster, ``before`` is its environment."""

    temp: str | None
    before: dict[str, str] = field(default_factory=dict)

    @property
    def started_here(self) -> bool:
        """Whether the cluster is this machine alone, started by this driver."""
        return self.temp is not None

    def close(self) -> None:
        """Disconnect, and end the cluster if this driver has started it."""
        import ray

        ray.shutdown()
        if self.temp:
            self.put_back()
            shutil.rmtree(self.temp, ignore_errors=True)

    def put_back(self) -> None:
        """Give the user's environment back."""
        for name in OURS:
            os.environ.pop(name, None)
        os.environ.update(self.before)


def open_session(threads: int, variables: Mapping[str, str] | None = None, dashboard: bool = True) -> Session:
    """Connect to ``RAY_ADDRESS`` (which ``ray job submit`` sets), or start a local cluster that ends with this driver.

    InputError where no Ray answers at the address.
    ``threads`` is what each worker computes with; ``variables`` are in its environment before it begins. A local
    cluster has a ``dashboard`` where Ray Train needs it (see `_start`).
    """
    quiet()
    address = named_address()
    more = dict(variables or {})
    return _join(address, threads, more) if address else _start(threads, more, dashboard)


def _join(address: str, threads: int, more: Mapping[str, str]) -> Session:
    check_address()
    import ray

    try:
        ray.init(address=address, log_to_driver=False, **_environment(threads, more))
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise InputError(
            f"RAY_ADDRESS={address} cannot be joined ({error}). Unset RAY_ADDRESS to start a local Ray, or take "
            "cluster.kind=local."
        ) from error
    return Session(None)


def _start(threads: int, more: Mapping[str, str], dashboard: bool) -> Session:
    """Start a cluster in a folder of its own.

    Ray Train needs the dashboard: its cleaner frees the workers of a trial that ended early through the dashboard, and
    without it the next trials wait for ever. Without Ray Train it would only cost six seconds at the start.
    """
    before = {name: os.environ[name] for name in OURS if name in os.environ}
    session = Session(tempfile.mkdtemp(prefix="ray-", dir="/tmp"), before)  # sockets below it must have short names
    _stay_here()
    _lock(Path(str(session.temp)))
    import ray  # now: it reads how to authenticate when it is imported

    try:
        started = ray.init(
            address="local",
            include_dashboard=dashboard,
            dashboard_host="127.0.0.1",
            dashboard_port=_free_port(),
            _temp_dir=session.temp,
            log_to_driver=False,
            **_environment(threads, {**LOCAL_ENV, **more}),
        )
    except BaseException:
        session.close()
        raise
    os.environ["RAY_ADDRESS"] = started.address_info["gcs_address"]
    return session


def quiet() -> None:
    """Choose Ray's settings that must be in the environment before it is imported."""
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # it would swallow Ctrl-C, and the sweep would go on
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # files that are never read


def _environment(threads: int, more: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments that give workers our environment; a submitted job has a runtime environment of its own."""
    variables = WORKER_ENV | {"OMP_NUM_THREADS": str(threads)} | dict(more)
    return {"runtime_env": {"env_vars": variables}, "logging_level": "ERROR"}


def _lock(temp: Path) -> None:
    """Let only this user's processes in, by a token of this session: some of Ray's ports listen on all addresses."""
    if "RAY_AUTH_MODE" not in os.environ:
        token = temp / "auth_token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token))


def _stay_here() -> None:
    """Take away what would lead Ray to another cluster, or past its own dashboard through a proxy."""
    for name in ELSEWHERE:
        os.environ.pop(name, None)
    for name in PROXIES:
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost")))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
