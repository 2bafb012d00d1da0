"""The machine and the libraries that a benchmark ran on, in words."""

import os
import platform
from importlib import metadata
from pathlib import Path

LIBRARIES = ("torch", "transformers", "peft", "lm-eval", "ray", "deepspeed", "mlflow")
THREADS = "1"


def quiet_environment() -> dict[str, str]:
    """Return this environment with one thread per process, no builds, no network, and no progress bars or telemetry."""
    return os.environ | {
        "OMP_NUM_THREADS": THREADS,
        "MKL_NUM_THREADS": THREADS,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "DS_BUILD_OPS": "0",
        "DS_ACCELERATOR": "cpu",
        "PYTHONWARNINGS": "ignore::FutureWarning",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def describe() -> list[str]:
    """Return two lines: processor, cores and memory; then threads and the versions of the libraries."""
    versions = ", ".join(f"{name} {version}" for name in LIBRARIES if (version := _version(name)))
    return [
        f"{_cpu()}, {os.cpu_count()} cores, {_memory_gb():.0f} GB, {platform.system()} {platform.machine()}",
        f"{THREADS} thread a process, whole sweeps all cores; float32; Python {platform.python_version()}, {versions}",
    ]


def _cpu() -> str:
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return names[0] if names else platform.processor() or "an unnamed processor"


def _memory_gb() -> float:
    totals = [int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return totals[0] / 1e6 if totals else float("nan")


def _lines(path: str) -> list[str]:
    place = Path(path)
    return place.read_text().splitlines() if place.exists() else []


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
