"""The work of one rank of a trainer: take pack after pack from the hub and train it, until no pack is left."""

from __future__ import annotations

import pickle  # for what the driver itself has pickled, and Ray has brought # nosec B403
import re
import traceback
from typing import Any

from orchestrator.cluster.hub.assignments import Sort
from orchestrator.errors import StoppedError

TELL_SECONDS = 60.0  # how long the hub may take to note an error

_NEIGHBOUR = re.compile(  # the words of gloo's connections, and the files of gloo that are about connections
    r"Connection closed by peer|Connection reset by peer|Broken pipe|Connect timeout|ProcessGroup|No route to host"
    r"|Connection timed out|Timed out waiting \d+ms for|Application timeout caused pair closure|Read error \["
    r"|/gloo/transport/\w+/(pair|buffer|unbound_buffer)\.cc"
)
_OUT_OF_STEP = "enforce fail at"  # gloo's words for two ranks that send and expect different sizes


def train_packs(hub: Any, trainer: str, rank: int, train: bytes, device: Any) -> None:
    """Train each pack that the hub gives this rank of ``trainer``.

    ``train`` is the pickled function that is called with each job, the device (a `torch.device`) and the rank's
    control. It is unpickled once, because it may keep the base from one pack to the next. An error is reported to the
    hub and raised: the ranks may be out of step, so this trainer ends and the hub starts a new trainer.

    The wait for the next pack has no limit of its own: the beats go on meanwhile, and the hub ends a trainer whose
    other ranks do not come (`watchdog`). If the hub dies, Ray raises here.
    """
    import ray

    from orchestrator.cluster.trainers.heart import current
    from orchestrator.machine.memory import let_go

    heart = current()
    train_job = pickle.loads(train)  # noqa: S301 - the driver's own, through Ray # nosec B301
    while (job := ray.get(hub.take.remote(trainer, rank))) is not None:
        heart.train_here()
        try:
            train_job(pickle.loads(job), device, heart)  # noqa: S301 - as above # nosec B301
        except Exception as error:
            heart.beat()  # so that the hub knows the steps before it knows the error
            told = (trainer, rank, traceback.format_exc(), sort_of(error))
            ray.get(hub.report.remote(*told), timeout=TELL_SECONDS)
            raise
        finally:
            heart.rest()
        heart.beat()
        let_go(device)  # so that the next pack gets the memory of this pack
    heart.end()


def sort_of(error: BaseException) -> Sort:
    """Return whether an error says that the rank was told to stop, has lost another rank, or is at fault itself."""
    if isinstance(error, StoppedError):
        return "stopped"
    names = {kind.__name__ for kind in type(error).__mro__}
    lost = names & {"DistBackendError", "DistNetworkError"}
    gloo = isinstance(error, RuntimeError) and _NEIGHBOUR.search(str(error)) and _OUT_OF_STEP not in str(error)
    return "lost" if lost or gloo else "raised"
