"""A Ray cluster to work on: the one that is there, or a local one that ends with this driver."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError

WORKER_ENV = {
    "TOKENIZERS_PARALLELISM": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_OFFLINE": "1",  # data and models are fetched by the driver, before any trial
    "PYTHONWARNINGS": "ignore::FutureWarning",
}


@dataclass
class Session:
    """A connection to Ray; ``temp`` is set where this driver has started the cluster."""

    temp: str | None

    def close(self) -> None:
        """Disconnect, and end the cluster if this driver has started it."""
        import ray

        ray.shutdown()
        if self.temp:
            os.environ.pop("RAY_ADDRESS", None)
            shutil.rmtree(self.temp, ignore_errors=True)


def open_session(threads: int) -> Session:
    """Connect to ``RAY_ADDRESS`` (which ``ray job submit`` sets), or start a local cluster with a dashboard.

    The dashboard is not decoration: Train's cleaner frees the workers of a trial that ended early through it, and
    without it the next trials wait for ever. ``threads`` is what each worker computes with.
    """
    quiet()
    import ray

    address = os.environ.get("RAY_ADDRESS")
    if address:
        try:
            ray.init(address="auto" if address == "auto" else address, log_to_driver=False, **_environment(threads))
        except (ConnectionError, RuntimeError) as error:
            raise InputError(
                f"RAY_ADDRESS={address} does not answer ({error}). Start it with `ray start --head`, or unset "
                "RAY_ADDRESS to use a local one."
            ) from error
        return Session(None)
    temp = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # some of its ports listen on all addresses
    started = ray.init(
        address="local",
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        dashboard_port=_free_port(),
        _temp_dir=temp,
        log_to_driver=False,
        **_environment(threads),
    )
    _keep_secret(Path.home() / ".ray" / "auth_token")
    os.environ["RAY_ADDRESS"] = started.address_info["gcs_address"]
    return Session(temp)


def quiet() -> None:
    """Choose Ray's settings that must be in the environment before it is imported."""
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # it would swallow Ctrl-C, and the sweep would go on


def _environment(threads: int) -> dict[str, Any]:
    """Return the arguments that give workers our environment; a submitted job has a runtime environment of its own."""
    variables = WORKER_ENV | {"OMP_NUM_THREADS": str(threads)}
    return {"runtime_env": {"env_vars": variables}, "logging_level": "ERROR"}


def _keep_secret(token: Path) -> None:
    """Let nobody else read the token, which Ray creates readable by all."""
    if token.is_file():
        token.chmod(0o600)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
