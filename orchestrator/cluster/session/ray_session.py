"""A connection to Ray: to the cluster that RAY_ADDRESS names, or to a local cluster that ends with this driver."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.cluster.session.address import check_address, named_address
from orchestrator.cluster.session.local_doors import DOORS, close_doors, forget_earlier_doors
from orchestrator.cluster.session.temporary import make_temporary, remove_abandoned, remove_temporary
from orchestrator.cluster.signals import own_handlers
from orchestrator.errors import InputError, RunError

WORKER_ENV = {
    "TOKENIZERS_PARALLELISM": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_OFFLINE": "1",  # data and models are fetched by the driver, before any trial
    "PYTHONWARNINGS": "ignore::FutureWarning",
}
OTHER_CLUSTERS = (  # variables of the user that would lead a local Ray of this driver to another cluster
    "RAY_ADDRESS",
    "RAY_API_SERVER_ADDRESS",
    "RAY_REDIS_ADDRESS",
    "RAY_NAMESPACE",
    "RAY_OVERRIDE_DASHBOARD_URL",
    "RAY_JOB_CONFIG_JSON_ENV_VAR",
    "RAY_RUNTIME_ENV_HOOK",
)
PROXIES = ("no_proxy", "NO_PROXY")
PREFIX = "ray-"  # of the folder of a local Ray
PLACE = "/tmp"  # noqa: S108 - short: a socket has at most 107 characters; made by mkdtemp # nosec B108
SET_HERE = (*OTHER_CLUSTERS, *PROXIES, *DOORS)  # restored when the local Ray ends


@dataclass
class Session:
    """A connection to Ray.

    ``temp`` is the folder of the cluster if this driver has started it, else None. ``before`` are the variables of
    `SET_HERE` as the user had set them. ``token`` is the folder of the cluster's token if it was made for this cluster.
    ``dashboard`` is host and port of the dashboard of a cluster that was joined, if it has one.
    """

    temp: str | None
    before: dict[str, str] = field(default_factory=dict)
    token: Path | None = None
    dashboard: str | None = None

    @property
    def started_here(self) -> bool:
        """Whether the cluster is this machine alone, started by this driver."""
        return self.temp is not None

    def close(self) -> None:
        """Disconnect, and end the cluster if this driver has started it."""
        import ray

        try:
            ray.shutdown()
        finally:
            if self.temp:
                self.restore_environment()
                remove_temporary(Path(self.temp))
            if self.token:
                remove_temporary(self.token)

    def restore_environment(self) -> None:
        """Restore the user's environment."""
        for name in SET_HERE:
            os.environ.pop(name, None)
        os.environ.update(self.before)


def open_session(threads: int, variables: Mapping[str, str] | None = None) -> Session:
    """Connect to ``RAY_ADDRESS`` (which ``ray job submit`` sets), or start a local cluster that ends with this driver.

    Each worker computes with ``threads`` threads and begins with ``variables`` in its environment. The handlers of
    SIGINT and SIGTERM stay as they are. InputError if no Ray answers at the address.
    """
    configure_ray()
    address = named_address()
    extra = dict(variables or {})
    with own_handlers():
        return _join(address, threads, extra) if address else _start(threads, extra)


def _join(address: str, threads: int, extra: Mapping[str, str]) -> Session:
    check_address()
    import ray

    try:
        joined = ray.init(address=address, log_to_driver=False, **init_arguments(threads, extra))
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise InputError(
            f"RAY_ADDRESS={address} cannot be joined ({error}). Unset RAY_ADDRESS to start a local Ray, or take "
            "cluster.kind=local. A cluster with a token wants RAY_AUTH_MODE=token and its ~/.ray/auth_token here."
        ) from error
    return Session(None, dashboard=getattr(joined, "dashboard_url", None))


def _start(threads: int, extra: Mapping[str, str]) -> Session:
    """Start a cluster in a folder of its own, without a dashboard: it would take six seconds per start."""
    before = {name: os.environ[name] for name in SET_HERE if name in os.environ}
    remove_abandoned(PREFIX, PLACE)
    session = Session(str(make_temporary(PREFIX, PLACE)), before)
    leave_other_clusters()
    session.token = close_doors()
    import ray  # only now: Ray reads on import how to authenticate

    forget_earlier_doors()

    try:
        started = ray.init(
            address="local",
            include_dashboard=False,
            _temp_dir=session.temp,
            log_to_driver=False,
            **init_arguments(threads, extra),
        )
    except Exception as error:  # of any kind: Ray's own start has limits that a busy machine can exceed
        session.close()
        raise RunError(
            f"The local Ray did not start ({error}). Is this machine very busy? The same command tries again; "
            "cluster.kind=local needs no Ray."
        ) from error
    except BaseException:
        session.close()
        raise
    os.environ["RAY_ADDRESS"] = started.address_info["gcs_address"]
    return session


def configure_ray() -> None:
    """Set the variables that Ray reads when it is imported, unless the user has set them."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Tune would swallow Ctrl-C, and the sweep would go on
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # a thread that outlives the session must not start a Ray
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # files that are never read


def init_arguments(threads: int, extra: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of ``ray.init`` that set the environment of workers and silence Ray's log.

    Ray adds these arguments to the runtime environment that a submitted job already has, and refuses a variable that
    both set. So variables of the job are left out here: whoever submits a job may choose them.
    """
    variables = WORKER_ENV | {"OMP_NUM_THREADS": str(threads)} | dict(extra)
    own = {name: value for name, value in variables.items() if name not in _variables_of_job()}
    return {"runtime_env": {"env_vars": own}, "logging_level": "ERROR"}


def _variables_of_job() -> set[str]:
    """Return the names of the variables that ``ray job submit --runtime-env`` has set for the workers of this job."""
    try:
        config = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
        return set(config["runtime_env"]["env_vars"])
    except (ValueError, KeyError, TypeError):
        return set()


def leave_other_clusters() -> None:
    """Unset variables that name another cluster, and let Ray reach its own dashboard without a proxy."""
    for name in OTHER_CLUSTERS:
        os.environ.pop(name, None)
    for name in PROXIES:
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost")))
