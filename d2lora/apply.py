"""The fast form: lanes of thin factors around one product with the frozen weight."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from d2lora.method import Factored


def apply_factored(x_LNI: Tensor, weight_OI: Tensor, thin: Factored, adapter_x_LNI: Tensor) -> Tensor:
    """Return the adapted product of shape (L, N, O), without bias.

    ``adapter_x_LNI`` is what the adapter reads: ``x_LNI`` itself, or ``x_LNI`` after dropout.
    """
    dtype = x_LNI.dtype
    up_LRO, down_LIR = thin.up_LOR.mT.to(dtype), thin.down_LRI.mT.to(dtype)
    readd = thin.readd if isinstance(thin.readd, float | int) else thin.readd.to(dtype)
    if thin.in_scale_LI is None:
        update_LNO = torch.bmm(torch.bmm(adapter_x_LNI, down_LIR), up_LRO)
        base_LNO = x_LNI @ weight_OI.mT
        if thin.out_scale_LO is None:
            return base_LNO + (update_LNO if _is_zero(readd) else (1 + readd) * update_LNO)
        out_scale_L1O = thin.out_scale_LO[:, None].to(dtype)
        return base_LNO * out_scale_L1O + update_LNO * (out_scale_L1O + readd)
    in_scale_L1I = thin.in_scale_LI[:, None].to(dtype)
    base_LNO = (x_LNI * in_scale_L1I) @ weight_OI.mT
    scaled_LNR = torch.bmm(adapter_x_LNI * in_scale_L1I, down_LIR)
    added_LNR = readd * torch.bmm(adapter_x_LNI, down_LIR)
    if thin.out_scale_LO is None:
        return torch.baddbmm(base_LNO, scaled_LNR + added_LNR, up_LRO)
    acted_LNO = torch.baddbmm(base_LNO, scaled_LNR, up_LRO) * thin.out_scale_LO[:, None].to(dtype)
    return torch.baddbmm(acted_LNO, added_LNR, up_LRO)


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
    readd = parts[0].readd
    if any(thin.readd != readd for thin in parts):
        readd_L = [float(thin.readd) for lanes, thin in groups for _ in lanes]
        readd = torch.tensor(readd_L, dtype=up_LOR.dtype, device=up_LOR.device)[:, None, None]
    stacked = Factored(up_LOR, down_LRI, out_scale_LO, in_scale_LI, readd)
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

    def pick(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.index_select(0, order)

    return Factored(
        thin.up_LOR.index_select(0, order),
        thin.down_LRI.index_select(0, order),
        pick(thin.out_scale_LO),
        pick(thin.in_scale_LI),
        thin.readd if isinstance(thin.readd, float | int) else thin.readd.index_select(0, order),
    )


def _is_zero(readd: float | Tensor) -> bool:
    return isinstance(readd, float | int) and readd == 0
