"""Rows of results.jsonl and predictions, as tests of summaries write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

METRICS = ("accuracy", "validation_accuracy", "train_loss_volatility", "train_seconds", "trainable_parameters")


def row(
    method: str = "d2lora",
    seed: int = 0,
    accuracy: float = 0.7,
    *,
    task: str = "arc_easy",
    lr: float = 1e-4,
    validation: float | None = None,
    status: str = "committed",
    size: int = 100,
) -> dict[str, Any]:
    committed = {
        "run_key": f"{task}/{method}/{lr}/{seed}",
        "task": task,
        "method": method,
        "settings": {"rank": 8},
        "lr": lr,
        "seed": seed,
        "status": status,
        "accuracy": accuracy,
        "validation_accuracy": accuracy if validation is None else validation,
        "train_loss_volatility": 0.1,
        "train_seconds": 30.0,
        "trainable_parameters": size,
        "base_accuracy": 0.4,
    }
    return committed if status == "committed" else {**committed, **dict.fromkeys(METRICS)}


def runs(method: str, accuracies: Sequence[float], **more: Any) -> list[dict[str, Any]]:
    return [row(method, seed, accuracy, **more) for seed, accuracy in enumerate(accuracies)]


def answers(right: Sequence[bool]) -> list[dict[str, Any]]:
    return [{"index": i, "answer": 1, "predicted": int(ok), "scores": [0.0, 1.0]} for i, ok in enumerate(right)]


OURS = [0.720, 0.731, 0.709, 0.725, 0.718]
THEIRS = [0.701, 0.705, 0.697, 0.698, 0.700]


def left_by_rungs(method: str, accuracies: Sequence[float], seeds: int, **more: Any) -> list[dict[str, Any]]:
    stopped = [row(method, seed, status="stopped", **more) for seed in range(len(accuracies), seeds)]
    return [*runs(method, accuracies, **more), *stopped]
