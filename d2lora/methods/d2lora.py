"""D2-LoRA: a positive and a negative low-rank pair; then each column of W + dW gets its norm in W (arXiv 2602.14728).

    dW   = (alpha / r) (up_plus @ down_plus - tau * up_minus @ down_minus)
    W*   = (W + dW) with the column norms of W
    What = W* + readd * dW

The paper leaves open three things: which axis is a "column", whether backward goes through the norm, and how the pairs
start. Each of them is a setting of `D2LoraConfig`, with our choice as the default.
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

    tau         weight of the minus pair; "learned" trains one number per layer, which starts at 0.5
    rank_minus  rank of the minus pair; None means ``rank``
    minus       "train"; "detach": the minus pair acts but gets no gradient; "off": there is no minus pair
    projection  "on": columns of W + dW get their norms in W back; "off": What is W + dW + readd * dW
    readd       1 adds dW once more after the projection (equation 3), 0 does not
    norm_axis   "out": one norm per output unit, over inputs; "in": one norm per input feature, over outputs
    norm_grad   "through": backward goes through the norm, which removes the gradient's part along each column;
                "detach": the norm is a constant in backward
    start       the distributions that draw ``down`` of the plus pair and of the minus pair, in this order

    ValueError: a rank below 1, a negative tau, and the errors of `LowRankConfig`.
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
            raise ValueError(
                f"tau={self.tau} is negative: the sign of the minus pair is part of the method, so give 0 or more."
            )


Config = D2LoraConfig


def shapes(out_features: int, in_features: int, config: D2LoraConfig) -> Shapes:
    """Return the two pairs, and ``tau`` if it is learned: of shape (1,), as DeepSpeed takes no tensor of shape ()."""
    minus = config.rank_minus or config.rank
    check_rank(max(config.rank, minus), out_features, in_features)
    trained: Shapes = {"up_plus": (out_features, config.rank), "down_plus": (config.rank, in_features)}
    if config.minus != "off":
        trained |= {"up_minus": (out_features, minus), "down_minus": (minus, in_features)}
        if config.tau == "learned":
            trained["tau"] = (1,)
    return trained


def init(weight: Tensor | BaseWeight, config: D2LoraConfig, generator: Generator) -> Params:
    """Return both ups at zero, so that dW = 0, and both downs drawn as ``config.start`` says.

    By default the two downs come from different distributions.
    """
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
    """Return dW: the plus pair minus tau times the minus pair, scaled by alpha / r."""
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
    """Return both pairs as one pair of rank 2r, with the projection as a scale on the output or on the input."""
    up_LOR, down_LRI = _one_pair(params, config)
    if config.projection == "off":
        return Factored((1 + config.readd) * up_LOR, down_LRI)
    norms = updated_norms(base, up_LOR, down_LRI, config.norm_axis, config.norm_grad)
    scale = restoring_scale(base, norms, config.norm_axis)
    if config.norm_axis == "out":
        return Factored(up_LOR * (scale + config.readd)[:, :, None], down_LRI, out_scale_LO=scale)
    return Factored(up_LOR, down_LRI * (scale + config.readd)[:, None], in_scale_LI=scale)


def as_peft(base: BaseWeight, params: Params, config: D2LoraConfig) -> PeftForm | None:
    """Return the two pairs as one pair of rank 2r: without projection a LoRA, with it a DoRA of magnitude |W|.

    None if dW is added once more after the projection, if columns are input features, or if a row of ``V = W + dW`` is
    zero. The projection leaves a row that is zero in W as it is in V, so the magnitude of such a row is its norm in V.
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
    """Return one pair (up, down), *batched*, whose product is dW: both pairs side by side, of rank 2r."""
    import torch

    ups, downs = zip(*_pairs(params, config), strict=True)
    return torch.cat(ups, -1), torch.cat(downs, -2)


def _pairs(params: Params, config: D2LoraConfig) -> list[tuple[Tensor, Tensor]]:
    """Return (up, scaled down) pairs whose products add up to dW.

    The trained tensors do not contain the constants alpha / r and tau, which multiply ``down`` here. So Adam's steps
    have the same size for every alpha and tau.
    """
    pairs = [(params["up_plus"], config.scale * params["down_plus"])]
    if config.minus != "off":
        up, down = params["up_minus"], params["down_minus"]
        if config.minus == "detach":
            up, down = up.detach(), down.detach()
        tau = params["tau"][..., None] if config.tau == "learned" else config.tau
        pairs.append((up, -config.scale * tau * down))
    return pairs
