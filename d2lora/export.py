"""A lane as an ordinary LoRA in PEFT's format: exact where it can be, else the best of a given rank, with its error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from d2lora.attachment import adapted_layers
from d2lora.norms import at_least_float32

EXACT = 1e-6  # what float32 rounding leaves of the relative error of an update that has the given rank


@dataclass(frozen=True)
class LoraExport:
    """``state`` and ``config`` as PEFT reads them; ``error`` = |update - exported| / |update| over all layers."""

    state: dict[str, Tensor]
    config: dict[str, Any]
    error: float


def to_lora(model: nn.Module, lane: int = 0, rank: int | None = None, energy: float | None = None) -> LoraExport:
    """Return lane's update ``What - W`` as a LoRA of ``rank``, or of the least rank a layer that keeps ``energy``.

    ``energy`` in (0, 1] is the kept share of the squared Frobenius norm. With neither, every layer gets the rank that
    its update numerically has. Truncated singular values: no LoRA of that rank is nearer (Eckart and Young, 1936).
    """
    if rank is not None and energy is not None:
        raise ValueError("Give rank or energy, not both.")
    if rank is not None and rank < 1:
        raise ValueError(f"rank={rank} is not positive.")
    if energy is not None and not 0 < energy <= 1:
        raise ValueError(f"energy={energy} is not in (0, 1].")
    state: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    lost2, whole2 = 0.0, 0.0
    for name, layer in adapted_layers(model).items():
        delta_OI = layer.effective_weight(lane) - at_least_float32(layer.weight.detach())
        left_OK, values_K, right_KI = torch.linalg.svd(delta_OI, full_matrices=False)
        kept = min(rank, len(values_K)) if rank is not None else _kept(values_K, energy)
        root_K = values_K[:kept].sqrt()
        state[f"base_model.model.{name}.lora_A.weight"] = (root_K[:, None] * right_KI[:kept]).contiguous()
        state[f"base_model.model.{name}.lora_B.weight"] = (left_OK[:, :kept] * root_K).contiguous()
        ranks[name] = kept
        lost2 += float(values_K[kept:].square().sum())
        whole2 += float(values_K.square().sum())
    if not ranks:
        raise ValueError("The model has no adapters: call d2lora.attach first.")
    return LoraExport(state, _peft_config(ranks), (lost2 / whole2) ** 0.5 if whole2 else 0.0)


def _kept(values_K: Tensor, energy: float | None) -> int:
    """Return how many singular values keep ``energy``, or all that are above rounding; at least one."""
    if energy is None:
        return max(1, int((values_K > EXACT * values_K[0]).sum()))
    share_K = values_K.square().cumsum(0) / values_K.square().sum().clamp_min(1e-300)
    return min(len(values_K), int((share_K < energy).sum()) + 1)


def _peft_config(ranks: dict[str, int]) -> dict[str, Any]:
    """Return PEFT's ``adapter_config.json``: alpha = rank everywhere, so that PEFT's scale is 1."""
    rank = max(ranks.values())
    pattern = {name: kept for name, kept in ranks.items() if kept != rank}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": rank,
        "rank_pattern": pattern,
        "alpha_pattern": dict(pattern),
        "target_modules": sorted(ranks),
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
    }
