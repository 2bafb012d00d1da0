"""D2-LoRA: a signed low-rank pair, then every column of W + dW back to its norm in W (arXiv 2602.14728).

    dW   = (alpha / r) (up_plus @ down_plus - tau * up_minus @ down_minus)
    W*   = (W + dW) with the column norms of W
    What = W* + readd * dW

The source leaves open which axis is a "column", whether the norm carries gradient and how the pairs start: each is an
option of `D2LoraConfig`, with our choice as its default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from d2lora.kernels.factored import Factored
from d2lora.method import LowRankConfig, Params, PeftForm, Shapes, check_rank
from d2lora.methods.dora import dora_norms
from d2lora.methods.lora import draw_kaiming, draw_normal
from d2lora.norms.axes import Axis, NormGrad
from d2lora.norms.base_weight import AnyBaseWeight, BaseWeight
from d2lora.norms.column_norms import dense_norms, restoring_scale, updated_norms

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class D2LoraConfig(LowRankConfig):
    """Settings of D2-LoRA.

    tau         weight of the minus pair; "learned" trains one scalar a layer that starts at 0.5
    rank_minus  rank of the minus pair; None is ``rank``
    minus       "train", "detach" (the pair acts but gets no gradient), or "off" (there is none)
    projection  "on", or "off" for W + dW (+ readd * dW)
    readd       1 adds dW once more after the projection (equation 3), 0 does not
    norm_axis   "out": one norm an output unit, over inputs; "in": one an input feature
    norm_grad   "through": the projection removes the radial part of the gradient; "detach": the norm is a constant
    start       which distribution draws which ``down``: Kaiming/normal ("kaiming-normal"), exchanged, or equal
    """

    tau: float | Literal["learned"] = 0.5
    rank_minus: int | None = None
    minus: Literal["train", "detach", "off"] = "train"
    projection: Literal["on", "off"] = "on"
    readd: Literal[0, 1] = 1
    norm_axis: Axis = "out"
    norm_grad: NormGrad = "through"
    start: Literal["kaiming-normal", "normal-kaiming", "kaiming-kaiming"] = "kaiming-normal"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank_minus is not None and self.rank_minus < 1:
            raise ValueError(f"rank_minus={self.rank_minus} is not positive: use minus=off for no minus pair.")
        if self.tau != "learned" and not self.tau >= 0:
            raise ValueError(f"tau={self.tau} is negative: the sign of the minus pair is part of the method.")


Config = D2LoraConfig


def shapes(out_features: int, in_features: int, config: D2LoraConfig) -> Shapes:
    """Return the two pairs, and ``tau`` (1,) where it is learned (DeepSpeed takes no tensor without a dimension)."""
    minus = config.rank_minus or config.rank
    check_rank(max(config.rank, minus), out_features, in_features)
    found: Shapes = {"up_plus": (out_features, config.rank), "down_plus": (config.rank, in_features)}
    if config.minus != "off":
        found |= {"up_minus": (out_features, minus), "down_minus": (minus, in_features)}
        if config.tau == "learned":
            found["tau"] = (1,)
    return found


def init(weight: Tensor | BaseWeight, config: D2LoraConfig, generator: Generator) -> Params:
    """Return both ups at zero, so that dW = 0, and the downs drawn *differently* as ``config.start`` says."""
    base = BaseWeight.of(weight)
    draw = {"kaiming": draw_kaiming, "normal": draw_normal}
    starts = dict(zip(("down_plus", "down_minus"), config.start.split("-"), strict=True))
    params = {name: base.zeros_for_start(shape) for name, shape in shapes(*base.shape, config).items()}
    for name, start in starts.items():
        if name in params:
            draw[start](params[name], generator)
    if "tau" in params:
        params["tau"].fill_(0.5)
    return params


def effective_weight(weight_OI: Tensor, params: Params, config: D2LoraConfig) -> Tensor:
    """Return ``What``: the projection of ``W + dW`` plus ``readd * dW``."""
    return with_update(weight_OI, update(params, config), params, config)


def update(params: Params, config: D2LoraConfig) -> Tensor:
    """Return dW, the sum of the scaled pairs."""
    first, *others = (up @ down for up, down in _pairs(params, config))
    return sum(others, start=first)


def with_update(weight_OI: Tensor, update_OI: Tensor, params: Params, config: D2LoraConfig) -> Tensor:  # noqa: ARG001
    """Return the projection of ``W + dW`` plus ``readd * dW``."""
    moved_OI = weight_OI + update_OI
    if config.projection == "on":
        measured_OI = moved_OI if config.norm_grad == "through" else moved_OI.detach()
        norms = dense_norms(measured_OI, config.norm_axis)
        scale = restoring_scale(BaseWeight(weight_OI), norms, config.norm_axis).to(moved_OI.dtype)
        moved_OI = moved_OI * scale.unsqueeze(1 if config.norm_axis == "out" else 0)
    return moved_OI + config.readd * update_OI


def factored(base: AnyBaseWeight, params: Params, config: D2LoraConfig) -> Factored:
    """Return both pairs as one of rank 2r, with the projection as a scale on the output or the input."""
    up_LOR, down_LRI = _one_pair(params, config)
    if config.projection == "off":
        return Factored((1 + config.readd) * up_LOR, down_LRI)
    norms = updated_norms(base, up_LOR, down_LRI, config.norm_axis, config.norm_grad)
    scale = restoring_scale(base, norms, config.norm_axis)
    if config.norm_axis == "out":
        return Factored(up_LOR * (scale + config.readd)[:, :, None], down_LRI, out_scale_LO=scale)
    return Factored(up_LOR, down_LRI * (scale + config.readd)[:, None], in_scale_LI=scale)


def as_peft(base: BaseWeight, params: Params, config: D2LoraConfig) -> PeftForm | None:
    """Return the two pairs as one of rank 2r: a LoRA without projection, a DoRA of magnitude |W| with it.

    None where dW is added once more after the projection, or columns are input features. A row of W that is zero is
    left as V has it, so its magnitude is that of V.
    """
    up_OR, down_RI = _one_pair(params, config)
    if config.projection == "off":
        return PeftForm(up_OR, down_RI, 1.0 + config.readd)
    if config.readd or config.norm_axis == "in":
        return None
    norms_O, zeros_O = dora_norms(base, up_OR, down_RI), base.zeros("out")
    if norms_O is None:
        return None
    return PeftForm(
        up_OR, down_RI, 1.0, base.norms("out") if zeros_O is None else norms_O.where(zeros_O, base.norms("out"))
    )


def _one_pair(params: Params, config: D2LoraConfig) -> tuple[Tensor, Tensor]:
    """Return up and down, *batched*, whose product is dW: both pairs side by side, of rank 2r."""
    import torch

    ups, downs = zip(*_pairs(params, config), strict=True)
    return torch.cat(ups, -1), torch.cat(downs, -2)


def _pairs(params: Params, config: D2LoraConfig) -> list[tuple[Tensor, Tensor]]:
    """Return (up, scaled down) pairs whose products add up to dW; constants stay outside what Adam sees."""
    found = [(params["up_plus"], config.scale * params["down_plus"])]
    if config.minus != "off":
        up, down = params["up_minus"], params["down_minus"]
        if config.minus == "detach":
            up, down = up.detach(), down.detach()
        tau = params["tau"][..., None] if config.tau == "learned" else config.tau
        found.append((up, -config.scale * tau * down))
    return found
