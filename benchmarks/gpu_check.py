"""Measure speed, precision and memory on one GPU: `make gpu-check`, or python -m benchmarks.gpu_check --out DIR.

Parts run one after another, each within its time limit. A part that fails prints its traceback; the next part runs.
Tables are written to DIR after every row. Exit 0: all parts ran; 1: a part failed; 2: there is no GPU.
docs/gpu.md explains every column.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # both modules load torch, which must not be loaded before this command has set the environment
    from benchmarks.gpu.report import Table
    from benchmarks.gpu.scale import Scale

LIBRARIES = ("torch", "triton", "transformers", "peft", "deepspeed")
FAILED, NO_GPU = 1, 2
LIMIT = 450.0  # seconds of all parts together


@dataclass(frozen=True)
class Part:
    """A part of the check: the function that yields its rows. After ``seconds`` it is stopped at the next row."""

    title: str
    module: str
    function: str
    seconds: float


PARTS = {
    "speed": Part("step time against PEFT", "speed", "rows", 150),
    "acting": Part("whether the projection acts in bfloat16", "acting", "rows", 30),
    "half": Part("training in bfloat16 against float32", "precision", "half_rows", 30),
    "kernel": Part("the fused composition", "kernel", "rows", 60),
    "fused_step": Part("a step with the fused composition and without", "kernel", "step_rows", 40),
    "solo": Part("lanes against solo runs", "precision", "solo_rows", 45),
    "noise": Part("a run against its repetition", "precision", "noise_rows", 45),
    "memory": Part("memory against the plan", "bytes", "rows", 60),
    "launches": Part("what a step asks of the device", "launches", "rows", 75),
    "zero": Part("ZeRO against the plain engine", "stages", "rows", 60),
}
"""In this order: DeepSpeed, which may be missing or may not start, comes last."""


def main(words: list[str] | None = None) -> int:
    """Run the chosen parts; return the exit code."""
    options = _options(words)
    _set_environment(options.device)
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        _say("No GPU: nothing is measured. To try every part at toy size on this machine: --tiny --device cpu")
        return NO_GPU
    from benchmarks.gpu import report
    from benchmarks.gpu.scale import FULL, TINY

    scale = replace(TINY if options.tiny else FULL, device=torch.device(options.device))
    options.out.mkdir(parents=True, exist_ok=True)
    machine = _machine(options.device)
    begin, tables, failed = time.monotonic(), [], False
    for line in machine:
        _say(line)
    for name in options.only:
        tables.append(report.Table(name, PARTS[name].title))
        left = options.limit - (time.monotonic() - begin)
        failed |= not _run(tables[-1], PARTS[name], scale, left, lambda: report.write(options.out, machine, tables))
        report.write(options.out, machine, tables)
    _say(f"{time.monotonic() - begin:.0f} s in all; tables in {options.out}/gpu_check.md and gpu_check.json")
    return FAILED if failed else 0


def _run(table: Table, part: Part, scale: Scale, left: float, write: Callable[[], None]) -> bool:
    """Add the part's rows to the table, for at most ``left`` seconds; return False if the part failed."""
    from benchmarks.gpu import report

    begin = time.monotonic()
    _say(f"\n## {table.name}: {part.title}")
    try:
        _add_rows(table, part, scale, min(part.seconds, left), write)
    except ImportError as error:
        table.status = f"ended early: {error}"
        _say(table.status)
    except Exception as error:
        table.status = f"FAILED: {type(error).__name__}: {error}"
        _say(traceback.format_exc())
        traceback.clear_frames(error.__traceback__)  # or a failed pass would hold its tensors
    table.seconds = time.monotonic() - begin
    _clear()
    _say("\n".join(report.lines(table.rows)))
    return not table.status.startswith("FAILED")


def _add_rows(table: Table, part: Part, scale: Scale, seconds: float, write: Callable[[], None]) -> None:
    """Add each row as soon as it is measured; stop at the first row that is measured after ``seconds``."""
    from benchmarks.gpu import report

    if seconds <= 0:
        table.status = "left out: no time left"
        return
    begin = time.monotonic()
    rows = getattr(importlib.import_module(f"benchmarks.gpu.{part.module}"), part.function)(scale)
    for row in rows:
        table.rows.append(row)
        table.seconds = time.monotonic() - begin
        _say(f"{table.seconds:5.0f} s  {report.brief(row)}")
        write()
        if table.seconds > seconds:
            rows.close()
            table.status = f"stopped after {seconds:.0f} s, where more rows may have been to come"
            return
    table.status = "done"


def _clear() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench-results/gpu"), help="folder for the tables")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, in order, with commas between them")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="toy sizes: runs every line, measures nothing")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds of all parts together")
    options = parser.parse_args(words)
    options.only = options.only.split(",")
    unknown = [name for name in options.only if name not in PARTS]
    if unknown:
        parser.error(f"--only: there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    return options


def _set_environment(device: str) -> None:
    """Set the variables that libraries read on import: no builds, no network, and cuBLAS's deterministic workspace."""
    wanted = {
        "DS_BUILD_OPS": "0",
        "DS_ACCELERATOR": device,
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }
    os.environ |= {name: os.environ.get(name, value) for name, value in wanted.items()}


def _machine(device: str) -> list[str]:
    """Return two lines: the device, and the versions of the libraries that are measured."""
    import torch

    versions = ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)
    if device == "cpu":
        return ["a CPU: toy numbers", versions]
    gpu = torch.cuda.get_device_properties(0)
    place = f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}, {os.cpu_count()} CPU cores"
    return [place, f"Python {platform.python_version()}, {versions}"]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
