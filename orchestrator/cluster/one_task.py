"""Run a function once with the resources of one worker of a Ray cluster: with words while it waits, and once again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

WORD_SECONDS = 60.0  # after so long, and again each time, the user is told what is waited for


def run_once(
    function: Callable[[Path], Any], argument: Path, options: Mapping[str, Any], say: Callable[[str], None]
) -> Any:
    """Return ``function(argument)``, called by a task of Ray with these ``options``, as ``num_cpus``.

    The wait has no limit, because a merge may take long and a full cluster may get room; Ctrl-C ends it. If the node or
    the process of the task is lost, the task runs a second time. Errors as ``function`` or, then, Ray raises them.
    """
    import ray

    once = ray.remote(max_calls=1)(_call)  # its process ends with the task, so its memory is free for trainers
    start = once.options(**options, max_retries=0).remote
    lost = ray.exceptions.NodeDiedError, ray.exceptions.WorkerCrashedError, ray.exceptions.ObjectLostError
    try:
        return _wait_for(start(function, argument), function, options, say)
    except lost as error:
        say(f"{_name(function)} was lost with its node or process ({type(error).__name__}); it runs once more")
        return _wait_for(start(function, argument), function, options, say)


def _wait_for(answer: Any, function: Callable[..., Any], options: Mapping[str, Any], say: Callable[[str], None]) -> Any:
    import ray

    began = time.monotonic()
    while not ray.wait([answer], timeout=WORD_SECONDS)[0]:
        room = ", ".join(f"{name}={amount:g}" for name, amount in options.items())
        say(
            f"waiting for {_name(function)} since {time.monotonic() - began:.0f} s: it is at work, or waits for a node "
            f"with {room} free (`ray status` says which nodes have room)"
        )
    return ray.get(answer)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _call(function: Callable[[Path], Any], argument: Path) -> Any:
    return function(argument)
