"""The fast form: lanes of thin factors around one product with the frozen weight, with its own backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from d2lora.lane_products import add_outer_lanes, lane_sums, outer_lanes, scale_lanes, times_lanes
from d2lora.method import Factored


def apply_factored(
    x_MI: Tensor,
    weight_OI: Tensor,
    thin: Factored,
    sizes: Sequence[int],
    *,
    bias_O: Tensor | None = None,
    adapter_x_MI: Tensor | None = None,
) -> Tensor:
    """Return ``out_scale * (W (in_scale * x)) + up down x + bias`` of shape (M, O); lane l has ``sizes[l]`` rows.

    ``adapter_x_MI`` is what the adapters read where that is not ``x_MI`` itself: ``x_MI`` after dropout.
    """
    dtype = x_MI.dtype
    scales = [None if scale is None else scale.to(dtype) for scale in (thin.out_scale_LO, thin.in_scale_LI)]
    up_LOR, down_LRI = thin.up_LOR.to(dtype), thin.down_LRI.to(dtype)
    result: Tensor = _Adapted.apply(  # type: ignore[no-untyped-call]
        x_MI, weight_OI, bias_O, tuple(sizes), up_LOR, down_LRI, *scales, adapter_x_MI
    )
    return result


class _Adapted(torch.autograd.Function):
    """``y = out_scale * b + h up^T`` with ``b = (in_scale * x) W^T`` and ``h = x down^T``; keeps x, h, and b if needed.

    Autograd's own composition would keep base product, update and scaled input of every adapted layer. Here ``x`` is
    kept by reference, once for all layers that read it, ``h`` is thin, and ``b`` is needed only where the scale on the
    output has a gradient.
    """

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917 - autograd takes no structures
        ctx: Any,
        x_MI: Tensor,
        weight_OI: Tensor,
        bias_O: Tensor | None,
        sizes: tuple[int, ...],
        up_LOR: Tensor,
        down_LRI: Tensor,
        out_scale_LO: Tensor | None,
        in_scale_LI: Tensor | None,
        adapter_x_MI: Tensor | None,
    ) -> Tensor:
        scaled_MI = x_MI if in_scale_LI is None else scale_lanes(x_MI, in_scale_LI, sizes)
        read_MI = x_MI if adapter_x_MI is None else adapter_x_MI
        h_MR = times_lanes(read_MI, down_LRI.mT, sizes)
        if out_scale_LO is None:
            base_MO = None
            y_MO = scaled_MI @ weight_OI.mT if bias_O is None else torch.addmm(bias_O, scaled_MI, weight_OI.mT)
        else:
            base_MO = scaled_MI @ weight_OI.mT
            y_MO = scale_lanes(base_MO, out_scale_LO, sizes, plus=bias_O)
        add_outer_lanes(y_MO, h_MR, up_LOR.mT, sizes)
        keeps_base = ctx.needs_input_grad[6]
        ctx.sizes = sizes
        ctx.save_for_backward(
            x_MI,
            weight_OI,
            up_LOR,
            down_LRI,
            out_scale_LO,
            in_scale_LI,
            adapter_x_MI,
            h_MR,
            base_MO if keeps_base else None,
        )
        return y_MO

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_MI, weight_OI, up_LOR, down_LRI, out_scale_LO, in_scale_LI, adapter_x_MI, h_MR, base_MO = ctx.saved_tensors
        sizes, needs = ctx.sizes, ctx.needs_input_grad
        dy_MO = gradients[0].contiguous()
        dup_LOR = outer_lanes(h_MR, dy_MO, sizes).mT
        dh_MR = times_lanes(dy_MO, up_LOR, sizes)
        ddown_LRI = outer_lanes(dh_MR, x_MI if adapter_x_MI is None else adapter_x_MI, sizes)
        dout_LO = lane_sums(dy_MO, base_MO, sizes) if needs[6] else None
        dx_MI = din_LI = None
        if needs[0] or needs[7]:
            dx_MI = (dy_MO if out_scale_LO is None else scale_lanes(dy_MO, out_scale_LO, sizes)) @ weight_OI
            if needs[7]:
                din_LI = lane_sums(dx_MI, x_MI, sizes)
            if in_scale_LI is not None:
                dx_MI = scale_lanes(dx_MI, in_scale_LI, sizes)
        dadapter_MI = None
        if adapter_x_MI is not None:
            dadapter_MI = times_lanes(dh_MR, down_LRI, sizes) if needs[8] else None
        elif needs[0]:
            assert dx_MI is not None  # noqa: S101 - made above
            add_outer_lanes(dx_MI, dh_MR, down_LRI, sizes)
        return dx_MI, None, None, None, dup_LOR, ddown_LRI, dout_LO, din_LI, dadapter_MI


def stack_factored(groups: Sequence[tuple[Sequence[int], Factored]]) -> Factored:
    """Return one `Factored` over the lanes of all groups, in ascending lane order.

    Ranks are padded with zeros to the largest; a missing scale becomes ones where another group has one.
    """
    if len(groups) == 1:
        return groups[0][1]
    parts = [thin for _, thin in groups]
    rank = max(thin.up_LOR.shape[2] for thin in parts)
    up_LOR = torch.cat([pad(thin.up_LOR, (0, rank - thin.up_LOR.shape[2])) for thin in parts])
    down_LRI = torch.cat([pad(thin.down_LRI, (0, 0, 0, rank - thin.down_LRI.shape[1])) for thin in parts])
    out_scale_LO = _stack_scales([thin.out_scale_LO for thin in parts], [thin.up_LOR[:, :, 0] for thin in parts])
    in_scale_LI = _stack_scales([thin.in_scale_LI for thin in parts], [thin.down_LRI[:, 0] for thin in parts])
    stacked = Factored(up_LOR, down_LRI, out_scale_LO, in_scale_LI)
    lanes = [lane for group, _ in groups for lane in group]
    return stacked if lanes == sorted(lanes) else _reordered(stacked, lanes)


def _stack_scales(scales: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor | None:
    if all(scale is None for scale in scales):
        return None
    return torch.cat(
        [torch.ones_like(one) if scale is None else scale for scale, one in zip(scales, like, strict=True)]
    )


def _reordered(thin: Factored, lanes: Sequence[int]) -> Factored:
    order = torch.tensor(sorted(range(len(lanes)), key=lanes.__getitem__), device=thin.up_LOR.device)
    return thin.map(lambda tensor: tensor.index_select(0, order))
