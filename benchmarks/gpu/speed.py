"""Time of a training step, and tokens per second: one and many lanes in our trainer against as many steps of PEFT."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import torch

from benchmarks.gpu import arms
from benchmarks.gpu.report import Row, Rows
from benchmarks.gpu.scale import Case, Scale
from orchestrator.machine.memory import peak_bytes, reset_peak

PEERS = ("the base alone", "PEFT LoRA", "PEFT DoRA")
METHODS = {"lora": "our LoRA", "dora": "our DoRA", "d2lora": "D2-LoRA"}


def rows(scale: Scale) -> Rows:
    """Yield a row per case and arm: PEFT's arms, one lane of each of our methods, then D2-LoRA with more lanes."""
    for case in scale.cases:
        medians: dict[str, float] = {}
        for row in _rows(scale, case):
            medians.setdefault(row["arm"], row["ms a step"])
            for peer in PEERS[1:]:
                row[f"of {peer}'s time"] = row["ms a step"] / (row["lanes"] * medians.get(peer, float("nan")))
            yield row


def _rows(scale: Scale, case: Case) -> Iterator[Row]:
    for kind in PEERS:
        yield _peer(scale, case, kind)
    for method in METHODS:
        yield _lanes(scale, case, method, 1)
    for lanes in scale.lanes:
        if lanes > 1:
            yield _lanes(scale, case, "d2lora", lanes)


def _peer(scale: Scale, case: Case, kind: str) -> Row:
    model = arms.model_of(scale, case.hidden, layers=scale.layers, dtype=torch.bfloat16)
    matrices = _matrices(model)
    peer = arms.peer_of(scale, model, case.rows, kind)
    _watch(scale)
    samples = arms.timed(peer.step, scale.device, scale.rounds)
    row = _row(scale, case, kind, 1, samples, matrices)
    del peer, model
    arms.forget()
    return row


def _lanes(scale: Scale, case: Case, method: str, lanes: int) -> Row:
    samples, matrices = lane_steps(scale, case, method, lanes)
    return _row(scale, case, METHODS[method], lanes, samples, matrices)


def lane_steps(scale: Scale, case: Case, method: str, lanes: int) -> tuple[list[float], int]:
    """Return the milliseconds of our trainer's steps, and the number of weights in the matrices of all blocks."""
    model = arms.model_of(scale, case.hidden, layers=scale.layers, dtype=torch.bfloat16)
    matrices, optim = _matrices(model), arms.optim_of(case.rows)
    engine = arms.engine_of(model, [arms.lane(seed, method) for seed in range(lanes)], optim, scale.device)
    _watch(scale)
    story = arms.train(engine, arms.items_of(scale, case.rows, arms.FIRST + scale.rounds), range(lanes), optim)
    del engine, model
    arms.forget()
    return story.step_ms, matrices


def _row(scale: Scale, case: Case, arm: str, lanes: int, samples: list[float], matrices: int) -> Row:
    seconds = statistics.median(samples) / 1000
    tokens = lanes * case.rows * scale.length
    return {
        "hidden": case.hidden,
        "tokens a lane": case.rows * scale.length,
        "arm": arm,
        "lanes": lanes,
        **arms.spread(samples),
        "tokens/s": tokens / seconds,
        "TFLOP/s": 4 * matrices * tokens / seconds / 1e12,
        "peak GB": peak_bytes(scale.device) / 1e9 if scale.device.type == "cuda" else float("nan"),
    }


def _matrices(model: torch.nn.Module) -> int:
    return sum(one.numel() for name, one in model.named_parameters() if ".layers." in name and one.dim() == 2)


def _watch(scale: Scale) -> None:
    if scale.device.type == "cuda":
        reset_peak(scale.device)
