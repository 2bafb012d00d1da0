"""A Ray cluster to work on: the one that is there, or a local one that ends with this driver."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError

WORKER_ENV = {
    "TOKENIZERS_PARALLELISM": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_OFFLINE": "1",  # data and models are fetched by the driver, before any trial
    "PYTHONWARNINGS": "ignore::FutureWarning",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how soon Train sees that a trainer has ended
}
LOCAL_ENV = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}  # this machine is not taken away; a process less a trainer


@dataclass
class Session:
    """A connection to Ray; ``temp`` is set where this driver has started the cluster."""

    temp: str | None

    @property
    def started_here(self) -> bool:
        """Whether the cluster is this machine alone, started by this driver."""
        return self.temp is not None

    def close(self) -> None:
        """Disconnect, and end the cluster if this driver has started it."""
        import ray

        ray.shutdown()
        if self.temp:
            for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
                os.environ.pop(name, None)
            shutil.rmtree(self.temp, ignore_errors=True)


def open_session(threads: int, variables: Mapping[str, str] | None = None) -> Session:
    """Connect to ``RAY_ADDRESS`` (which ``ray job submit`` sets), or start a local cluster that ends with this driver.

    ``threads`` is what each worker computes with; ``variables`` are in its environment before it begins.
    """
    quiet()
    address = os.environ.get("RAY_ADDRESS")
    more = dict(variables or {})
    return _join(address, threads, more) if address else _start(threads, more)


def _join(address: str, threads: int, more: Mapping[str, str]) -> Session:
    import ray

    try:
        ray.init(address=address, log_to_driver=False, **_environment(threads, more))
    except (ConnectionError, RuntimeError) as error:
        raise InputError(
            f"RAY_ADDRESS={address} does not answer ({error}). Start it with `ray start --head`, or unset "
            "RAY_ADDRESS to use a local one."
        ) from error
    return Session(None)


def _start(threads: int, more: Mapping[str, str]) -> Session:
    """Start a cluster in a folder of its own, with a dashboard.

    The dashboard is not decoration: Train's cleaner frees the workers of a trial that ended early through it, and
    without it the next trials wait for ever.
    """
    session = Session(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets below it must have short names
    _lock(Path(str(session.temp)))
    import ray  # now: it reads how to authenticate when it is imported

    try:
        started = ray.init(
            address="local",
            include_dashboard=True,
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
