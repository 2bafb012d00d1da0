"""Products of each lane's half-precision rows with the lane's float32 matrix, in float32."""

from __future__ import annotations

from torch import Tensor, float32

from d2lora.device_profile import profile_of
from d2lora.products.bfloat16_pairs import as_pair, on_tensor_cores, sum_of_pair, tensor_core_product
from d2lora.products.by_lane import Sizes, joined, lane_runs, lane_sums, outer_lanes, times_lanes


def for_products(rows_MK: Tensor) -> Tensor:
    """Return half-precision rows in the type in which the functions below multiply them.

    Large bfloat16 inputs on a GPU stay in bfloat16, for tensor cores; all other rows become float32. Call it once for
    rows that several products read, or each product would convert the rows again.
    """
    large = rows_MK.numel() >= profile_of(rows_MK.device).split_from
    return rows_MK if large and on_tensor_cores(rows_MK) else rows_MK.to(float32)


def times_lanes_in_float32(rows_MK: Tensor, matrices_LKJ: Tensor, sizes: Sizes) -> Tensor:
    """Return each row times its lane's float32 matrix, of shape (M, J), in float32.

    ``rows_MK`` is half precision, or the result of `for_products`.
    """
    rows_MK = for_products(rows_MK)
    if rows_MK.dtype == float32:
        return times_lanes(rows_MK, matrices_LKJ, sizes)
    both_LKJ = as_pair(matrices_LKJ, 2)
    parts = [tensor_core_product(run.by_lane(rows_MK), both_LKJ[run.lanes]).flatten(0, 1) for run in lane_runs(sizes)]
    return sum_of_pair(joined(parts), 1)


def outer_lanes_in_float32(left_MR: Tensor, right_MJ: Tensor, sizes: Sizes) -> Tensor:
    """Return ``left^T right`` over each lane's rows, of shape (L, R, J), in float32.

    ``left_MR`` is float32. ``right_MJ`` is half precision, or the result of `for_products`.
    """
    right_MJ = for_products(right_MJ)
    if right_MJ.dtype == float32:
        return outer_lanes(left_MR, right_MJ, sizes)
    both_MR = as_pair(left_MR, 1)
    parts = [tensor_core_product(run.by_lane(both_MR).mT, run.by_lane(right_MJ)) for run in lane_runs(sizes)]
    return sum_of_pair(joined(parts), 1)


def dot_lanes_in_float32(left_MK: Tensor, right_MK: Tensor, sizes: Sizes) -> Tensor:
    """Return the sum of ``left * right`` over each lane's rows, of shape (L, K), in float32."""
    return lane_sums(left_MK.to(float32) * right_MK, sizes)
