"""LoRA: W + (alpha / r) up @ down (Hu et al., arXiv 2106.09685, equation 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from d2lora.kernels.factored import Factored
from d2lora.method import LowRankConfig, Params, PeftForm, Shapes, check_rank
from d2lora.norms.base_weight import BaseWeight

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from d2lora.norms.base_weight import AnyBaseWeight


@dataclass(frozen=True)
class LoraConfig(LowRankConfig):
    """Settings of LoRA.

    start  how ``down`` is drawn: "kaiming", "normal", or "halves": the first half of the ranks from Kaiming's
           distribution and the second half from the normal one, as D2-LoRA draws its two pairs. A control of rank 2r
           has the start of D2-LoRA that way.
    """

    start: Literal["kaiming", "normal", "halves"] = "kaiming"


Config = LoraConfig


def shapes(out_features: int, in_features: int, config: LoraConfig) -> Shapes:
    """Return ``up`` (O, R) and ``down`` (R, I)."""
    check_rank(config.rank, out_features, in_features)
    return {"up": (out_features, config.rank), "down": (config.rank, in_features)}


def init(weight: Tensor | BaseWeight, config: LoraConfig, generator: Generator) -> Params:
    """Return ``up`` at zero, so that the start is the base model, and ``down`` drawn as ``config.start`` says."""
    base = BaseWeight.of(weight)
    params = {name: base.zeros_for_start(shape) for name, shape in shapes(*base.shape, config).items()}
    kaiming_ranks = {"kaiming": config.rank, "normal": 0, "halves": (config.rank + 1) // 2}[config.start]
    draw_kaiming(params["down"][:kaiming_ranks], generator)
    draw_normal(params["down"][kaiming_ranks:], generator)
    return params


def draw_kaiming(down_RI: Tensor, generator: Generator) -> None:
    """Fill ``down_RI`` in place from Kaiming's uniform distribution with a = sqrt 5, between -+ 1 / sqrt(I)."""
    bound = 1 / math.sqrt(down_RI.shape[1])
    down_RI.uniform_(-bound, bound, generator=generator)


def draw_normal(down_RI: Tensor, generator: Generator) -> None:
    """Fill ``down_RI`` in place from the normal distribution with mean 0 and standard deviation 1 / sqrt(I)."""
    down_RI.normal_(0, 1 / math.sqrt(down_RI.shape[1]), generator=generator)


def effective_weight(weight_OI: Tensor, params: Params, config: LoraConfig) -> Tensor:
    """Return ``W + scale * up @ down``."""
    return with_update(weight_OI, update(params, config), params, config)


def update(params: Params, config: LoraConfig) -> Tensor:
    """Return ``scale * up @ down``."""
    return config.scale * params["up"] @ params["down"]


def with_update(weight_OI: Tensor, update_OI: Tensor, params: Params, config: LoraConfig) -> Tensor:  # noqa: ARG001
    """Return ``W + dW``."""
    return weight_OI + update_OI


def factored(base: AnyBaseWeight, params: Params, config: LoraConfig) -> Factored:  # noqa: ARG001 - the contract's arguments
    """Return the pair, with the scale in ``down``."""
    return Factored(params["up"], config.scale * params["down"])


def as_peft(base: BaseWeight, params: Params, config: LoraConfig) -> PeftForm:  # noqa: ARG001
    """Return the pair, because PEFT's LoRA is the same equation."""
    return PeftForm(params["up"], params["down"], config.scale)
