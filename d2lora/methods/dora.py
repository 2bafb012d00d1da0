"""DoRA: magnitude * (W + dW) / |W + dW|, one norm per output unit (Liu et al., arXiv 2402.09353, equations 5, 11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from d2lora.kernels.factored import Factored
from d2lora.method import Params, PeftForm, Shapes
from d2lora.methods import lora
from d2lora.norms.axes import NormGrad
from d2lora.norms.base_weight import EPS, AnyBaseWeight, BaseWeight
from d2lora.norms.column_norms import dense_norms, updated_norms

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class DoraConfig(lora.LoraConfig):
    """Settings of DoRA: those of LoRA, and one about the norm.

    norm_grad  "detach": the norm is a constant in backward, as the paper proposes and PEFT does; "through": backward
               goes through the norm
    """

    norm_grad: NormGrad = "detach"


Config = DoraConfig


def shapes(out_features: int, in_features: int, config: DoraConfig) -> Shapes:
    """Return LoRA's pair and ``magnitude`` (O,)."""
    return lora.shapes(out_features, in_features, config) | {"magnitude": (out_features,)}


def init(weight: Tensor | BaseWeight, config: DoraConfig, generator: Generator) -> Params:
    """Return LoRA's start, and each magnitude at the norm of its row of W, so that the start is the base model."""
    base = BaseWeight.of(weight)
    return lora.init(base, config, generator) | {"magnitude": base.norms("out").clone()}


def effective_weight(weight_OI: Tensor, params: Params, config: DoraConfig) -> Tensor:
    """Return ``magnitude * V / |V|`` with ``V = W + scale * up @ down`` and the norm over each row."""
    return with_update(weight_OI, update(params, config), params, config)


update = lora.update


def with_update(weight_OI: Tensor, update_OI: Tensor, params: Params, config: DoraConfig) -> Tensor:
    """Return ``magnitude * V / |V|`` with ``V = W + dW``."""
    moved_OI = weight_OI + update_OI
    norm_O = dense_norms(moved_OI if config.norm_grad == "through" else moved_OI.detach(), "out")
    return moved_OI * (params["magnitude"] / norm_O)[:, None].to(moved_OI.dtype)


def factored(base: AnyBaseWeight, params: Params, config: DoraConfig) -> Factored:
    """Return LoRA's factors with the scale ``magnitude / |V|`` on the output."""
    thin = lora.factored(base, params, config)
    norm_LO = updated_norms(base, thin.up_LOR, thin.down_LRI, "out", config.norm_grad)
    scale_LO = params["magnitude"] / norm_LO
    return Factored(thin.up_LOR * scale_LO[:, :, None], thin.down_LRI, out_scale_LO=scale_LO)


def as_peft(base: BaseWeight, params: Params, config: DoraConfig) -> PeftForm | None:
    """Return the pair and the magnitude, because PEFT's DoRA is the same equation; None if a row of V is zero."""
    norms_O = dora_norms(base, params["up"], config.scale * params["down"])
    return None if norms_O is None else PeftForm(params["up"], params["down"], config.scale, params["magnitude"])


def dora_norms(base: BaseWeight, up_OR: Tensor, down_RI: Tensor) -> Tensor | None:
    """Return the norms of the rows of ``W + up down``; None if a norm is zero, because PEFT divides by the norms."""
    norms_O = updated_norms(base, up_OR.detach()[None], down_RI.detach()[None], "out")[0]
    return norms_O if bool((norms_O > EPS**0.5).all()) else None
