"""A committed run that nothing has trained: a base, an adapter drawn at random, and what it scores."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import d2lora
from orchestrator.data.token_cache import write_tokens
from orchestrator.data.tokens import Item, TokenisedSplit
from orchestrator.files import write_lines
from orchestrator.model.loading import DTYPES, load_model
from orchestrator.store.adapters import save_adapter
from orchestrator.store.run_folder import RunFolder
from orchestrator.train.engine.plain import OneProcess
from orchestrator.train.score import accuracy, prediction_rows, score_items
from orchestrator.worker.jobs import ChampionJob
from tests.helpers.models.tiny_llama import TARGETS, questions

CPU = torch.device("cpu")
BASE = "b" * 64


@dataclass(frozen=True)
class Committed:
    """Where it is, and what the final job is told."""

    job: ChampionJob
    place: Path

    def other_adapter(self) -> dict[str, torch.Tensor]:
        """Return an adapter of the same shape, of another run."""
        return drawn(self.job.row["seed"] + 1, load_model(Path(self.job.base_path)))


def committed(
    folder: Path, model: nn.Module, tokenizer: Path, *, dtype: str = "float32", share: bool = True, step: float = 0.2
) -> Committed:
    """Write base, data and run below ``folder``; the run's scores are those of the pack's own path.

    ``step`` is the standard deviation of the adapter's numbers.
    """
    model.save_pretrained(folder / "base")  # type: ignore[operator]
    for file in tokenizer.glob("tokenizer*"):
        shutil.copy(file, folder / "base")
    asked = questions(40, seed=5)
    write_data(folder / "data.safetensors", asked)
    adapted = load_model(folder / "base", DTYPES[dtype]).eval()
    state = drawn(0, adapted, step)
    scored = score_items(OneProcess(adapted, CPU), {0: asked}, 1, share)[0]
    attempt = RunFolder(folder / "runs" / "key").begin({})
    origin = {"base": BASE, "targets": "attention", "run_key": "key"}
    save_adapter(attempt.path / "adapter", state, d2lora.describe_adapter(adapted, 0) | origin)
    write_lines(attempt.path / "predictions.jsonl", prediction_rows(scored))
    write_lines(attempt.path / "metrics.jsonl", [])
    row: dict[str, Any] = {"run_key": "key", "task": "a", "method": "d2lora", "settings": {}, "lr": 1e-3, "seed": 0}
    row |= {"init_seed": 0, "data_seed": 0, "validation_accuracy": 0.5, "accuracy": accuracy(scored)}
    attempt.commit(row)
    data = str(folder / "data.safetensors")
    job = ChampionJob(row, str(folder), str(folder / "base"), BASE, 0.3, data, dtype, share=share)
    return Committed(job, folder / "champions" / "a")


def drawn(seed: int, model: nn.Module, step: float = 0.2) -> dict[str, torch.Tensor]:
    """Adapt ``model`` with an adapter that changes what it scores, and return that adapter."""
    config = d2lora.get_method("d2lora").Config(rank=2, alpha=4.0)
    d2lora.attach(model, "d2lora", config, TARGETS, seeds=[seed])
    generator = torch.Generator().manual_seed(seed)
    for parameter in d2lora.adapter_parameters(model, 0).values():
        parameter.data = torch.randn(parameter.shape, generator=generator) * step
    return d2lora.adapter_state(model, 0)


def write_data(path: Path, items: list[Item]) -> None:
    """Write ``items`` as every split of a prepared file."""
    write_tokens(path, dict.fromkeys(("train", "validation", "test"), TokenisedSplit.of(items)))
