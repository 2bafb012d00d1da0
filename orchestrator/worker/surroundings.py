"""What lies under the code on a worker's machine: device, driver, threads and the versions of libraries."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from orchestrator.machine.code import code_digest
from orchestrator.worker.made_by import name_of

LIBRARIES = ("torch", "transformers", "tokenizers", "deepspeed", "ray", "numpy", "safetensors", "triton")
"""The libraries whose versions may move the bits or the scores of a run."""
DRIVER = Path("/proc/driver/nvidia/version")


def surroundings(device: torch.device) -> dict[str, Any]:
    """Return the kind of ``device``, ``code`` (the digest of this project's sources) and ``versions`` by name.

    The kind of a processor names its vector instructions and the number of threads, because both decide in which order
    torch sums.
    """
    kind = name_of(device)
    if device.type == "cpu":
        kind += f" ({torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads)"
    return {"machine": kind, "code": code_digest(), "versions": _versions(device)}


def _versions(device: torch.device) -> dict[str, str]:
    known = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            known[name] = version(name)
        except PackageNotFoundError:  # not every installation has all of them
            continue
    if device.type == "cuda":
        known |= {"cuda": str(torch.version.cuda), "driver": driver_version(_content(DRIVER))}
    return known


def driver_version(text: str) -> str:
    """Return the version of NVIDIA's driver from the text in which the driver names itself; "unknown" without one.

    >>> driver_version("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build")
    '580.95.05'
    """
    match = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", text)
    return match[1] if match else "unknown"


def _content(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
