"""Counts of one training step: kernels launched, copies, waits of the host, and how long the device is busy."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.arms import engine_of, forget, items_of, lane, model_of, optim_of, peer_of, timed, train, wait
from benchmarks.gpu.report import Row, Rows
from benchmarks.gpu.scale import Scale
from benchmarks.gpu.stages import zero_engine

LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch")
COPIES = ("cudaMemcpy",)
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy ")
READS = ("aten::_local_scalar_dense",)
ALL = 2**24  # tokens per pass, more than a step has: all lanes share one pass, and no step has to measure what fits
STEP = Callable[[], object]


def rows(scale: Scale) -> Rows:
    """Yield a row per arm, for the first case of ``scale``."""
    for name, lanes, make in _arms(scale):
        step, close = make()
        times = timed(step, scale.device, 3, 2)
        counted = _counted(step, scale.device)
        close()
        del step, close
        forget()
        wall = statistics.median(times)
        yield {"arm": name, "lanes": lanes, "ms": wall, **counted, "busy share": counted["busy ms"] / wall}


def _arms(scale: Scale) -> Iterator[tuple[str, int, Callable[[], tuple[STEP, Callable[[], None]]]]]:
    for kind in ("the base alone", "PEFT LoRA", "PEFT DoRA"):
        yield kind, 1, lambda kind=kind: _peer(scale, kind)
    for method in ("lora", "dora", "d2lora"):
        yield f"{method}, plain", 1, lambda method=method: _lanes(scale, method, 1, None)
    for lanes in scale.lanes[1:]:
        yield "d2lora, plain", lanes, lambda lanes=lanes: _lanes(scale, "d2lora", lanes, None)
    lanes = scale.lanes[min(1, len(scale.lanes) - 1)]
    yield "d2lora, ZeRO-2", lanes, lambda: _lanes(scale, "d2lora", lanes, 2)


def _model(scale: Scale) -> Any:
    return model_of(scale, scale.cases[0].hidden, layers=scale.layers, dtype=torch.bfloat16)


def _peer(scale: Scale, kind: str) -> tuple[STEP, Callable[[], None]]:
    return peer_of(scale, _model(scale), scale.cases[0].rows, kind).step, lambda: None


def _lanes(scale: Scale, method: str, lanes: int, stage: int | None) -> tuple[STEP, Callable[[], None]]:
    rows, model = scale.cases[0].rows, _model(scale)
    optim, specs = optim_of(rows), [lane(seed, method) for seed in range(lanes)]
    engine: Any
    if stage is None:
        engine = engine_of(model, specs, optim, scale.device)
    else:
        engine = zero_engine(model, specs, scale, stage, rows)
    items = items_of(scale, rows, 1)
    return lambda: train(engine, items, range(lanes), optim, tokens=ALL), engine.close


def _counted(step: STEP, device: torch.device) -> Row:
    """Return the counts that torch's profiler takes of one step."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with profile(activities=activities) as seen:
        step()
        wait(device)
    events = seen.key_averages()

    def count(names: tuple[str, ...]) -> int:
        return sum(event.count for event in events if event.key.startswith(names))

    on_device = [event for event in events if str(event.device_type).endswith("CUDA")]
    own = 1 if device.type == "cuda" else 0  # the wait above
    return {
        "kernels": count(LAUNCHES),
        "copies": count(COPIES),
        "waits": count(WAITS) - own,
        "numbers read": count(READS),
        "busy ms": sum(event.self_device_time_total for event in on_device) / 1000,
    }
