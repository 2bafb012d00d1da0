"""What made a run: code, versions, host, device, engine and pack, for its row and manifest (not for its key)."""

from __future__ import annotations

import platform
import socket
from functools import cache
from importlib.metadata import version
from typing import Any

import torch

from orchestrator.machine.code import code_digest
from orchestrator.train.engine.engine import Engine
from orchestrator.worker.jobs import PackJob

LIBRARIES = ("torch", "transformers", "deepspeed")


def made_by(job: PackJob, engine: Engine) -> dict[str, Any]:
    """Return what makes the runs of this pack; each run adds the number of its attempt.

    ``device`` is the GPU's or the processor's name, ``engine`` "plain" or "zero-2", ``world`` the number of ranks.
    """
    return {
        "commit": job.commit,
        "code": code_digest(),
        "versions": _versions(),
        "host": socket.gethostname(),
        "device": name_of(engine.device),
        "engine": job.engine.kind if job.engine.kind != "zero" else f"zero-{job.engine.stage}",
        "world": engine.world,
        "pack": job.pack.name,
    }


@cache
def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


@cache
def name_of(device: torch.device) -> str:
    """Return the name of a GPU, or of this machine's processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
