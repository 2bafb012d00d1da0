"""MLflow's client whose requests are counted and, where a repetition changes nothing, repeated after a failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from orchestrator.tracking.failures import lasts

PAUSES = (0.1, 0.3, 1.0)  # seconds before the second try of a request, before the third, and before the fourth
SECONDS = 10.0  # no further try after these: a request that hangs until its time limit is tried once
REPEATABLE = {
    *("log_batch", "set_tag", "update_run", "set_terminated", "log_inputs", "log_artifact", "log_artifacts"),
    *("set_experiment_tag", "finalize_logged_model", "set_registered_model_alias", "delete_run"),
    "set_registered_model_tag",
    *("search_runs", "search_logged_models", "search_registered_models", "search_model_versions", "list_artifacts"),
    *("get_run", "get_metric_history", "get_experiment_by_name", "get_registered_model", "get_model_version"),
}
"""Requests that may be made twice. What creates something is not among them: its caller looks before it repeats."""


class Requests:
    """Has the methods of ``client``; ``ended`` is called after every request, whatever came of it."""

    def __init__(self, client: Any, ended: Callable[[], None]) -> None:
        self._client, self._ended = client, ended

    def __getattr__(self, name: str) -> Any:
        def request(*args: Any, **kwargs: Any) -> Any:
            began = time.monotonic()
            for pause in (*PAUSES, None) if name in REPEATABLE else (None,):
                try:
                    return getattr(self._client, name)(*args, **kwargs)
                except Exception as error:
                    if pause is None or lasts(error) or time.monotonic() - began > SECONDS:
                        raise
                finally:
                    self._ended()
                time.sleep(pause)
            raise AssertionError("the last try returns or raises")

        return request
