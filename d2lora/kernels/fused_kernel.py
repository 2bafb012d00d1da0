"""The Triton kernel that `fused` launches; importing this file needs Triton, so `fused` imports it in a function.

Shape letters as in `method`; M counts the rows of all lanes. Each program computes one block: some rows of one lane by
some outputs. It reads that block of the base product once and writes that block of the result once.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import triton
import triton.language as tl


# Triton compiles a new kernel whenever an argument becomes 1 or a multiple of 16. These three arguments change from
# batch to batch, so they are excluded: else training would stop to compile again and again.
@triton.jit(do_not_specialize=["first_row", "first_lane", "size"])
def compose_run(  # noqa: PLR0913, PLR0917 - a kernel takes no structures
    y_ptr,
    base_ptr,
    extra_ptr,
    h_ptr,
    up_ptr,
    deviation_ptr,
    bias_ptr,
    base_stride,
    extra_stride,
    h_stride,
    up_stride_L,
    up_stride_R,
    up_stride_O,
    deviation_stride,
    first_row,
    first_lane,
    size,
    outputs,
    rank: tl.constexpr,
    precision: tl.constexpr,
    rows_a_block: tl.constexpr,
    outputs_a_block: tl.constexpr,
    ranks_a_product: tl.constexpr,
):
    """Compose neighbouring lanes with ``size`` rows each; the pointer to a part that is None is None."""
    blocks = tl.cdiv(size, rows_a_block)
    lane = tl.program_id(0) // blocks
    row_N = tl.program_id(0) % blocks * rows_a_block + tl.arange(0, rows_a_block)
    column_O = tl.program_id(1) * outputs_a_block + tl.arange(0, outputs_a_block)
    there_N1, there_1O = (row_N < size)[:, None], (column_O < outputs)[None, :]
    # int64, because offsets are rows times outputs, and a large pack has more than 2^31 of them
    row_N1 = (first_row + lane * size + row_N).to(tl.int64)[:, None]
    lane = (first_lane + lane).to(tl.int64)

    there_NO = there_N1 & there_1O
    v_NO = tl.load(base_ptr + row_N1 * base_stride + column_O[None, :], there_NO, 0.0).to(tl.float32)
    if extra_ptr is not None:
        v_NO += tl.load(extra_ptr + row_N1 * extra_stride + column_O[None, :], there_NO, 0.0).to(tl.float32)
    y_NO = v_NO
    if deviation_ptr is not None:
        scaled_NO = v_NO
        if bias_ptr is not None:
            scaled_NO = v_NO - tl.load(bias_ptr + column_O, column_O < outputs, 0.0).to(tl.float32)[None, :]
        deviation_O = tl.load(deviation_ptr + lane * deviation_stride + column_O, column_O < outputs, 0.0)
        y_NO = v_NO + deviation_O.to(tl.float32)[None, :] * scaled_NO
    if h_ptr is not None:
        for begin in range(0, rank, ranks_a_product):
            rank_R = begin + tl.arange(0, ranks_a_product)
            h_NR = tl.load(h_ptr + row_N1 * h_stride + rank_R[None, :], there_N1 & (rank_R < rank)[None, :], 0.0)
            up_RO = tl.load(
                up_ptr + lane * up_stride_L + rank_R[:, None] * up_stride_R + column_O[None, :] * up_stride_O,
                (rank_R < rank)[:, None] & there_1O,
                0.0,
            )
            y_NO = tl.dot(h_NR.to(tl.float32), up_RO.to(tl.float32), y_NO, input_precision=precision)
    tl.store(y_ptr + row_N1 * outputs + column_O[None, :], y_NO, there_NO)
