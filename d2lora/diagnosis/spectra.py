"""Singular values and vectors: ranks of an update, and intruders, the directions that the base does not have.

Two shape letters of this file alone: K counts singular values or vectors, Q the columns of a basis.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from d2lora.norms.base_weight import at_least_float32

TINY = 1e-300
"""The least divisor, in float64: zero divided by zero becomes zero."""
ROUNDS, COLD_ROUNDS = 2, 4
"""Rounds of block iteration: from a start that is close to the answer, and from a random start."""


@dataclass(frozen=True)
class Bounds:
    """How much a diagnosis may compute, and which vectors count as intruders.

    layers      how many adapted layers, evenly spread over the model, are measured with dense weights; 0 for none
    top         how many leading singular vectors of the tuned weight are compared with the base
    threshold   a vector is an intruder if its cosine with every vector of the base is below this
    repair      the factor by which a repair multiplies an intruder's singular value
    exact_side  a tuned weight whose smaller side is at most this is decomposed exactly, once per lane
    whole_side  a base weight whose smaller side is at most this is decomposed exactly, once per model; up to this size
                the effective rank of a scaled update is computed, too
    leading     for a larger base weight, how many of its leading vectors are computed and compared with

    ValueError for numbers out of range.
    """

    layers: int = 4
    top: int = 10
    threshold: float = 0.5
    repair: float = 0.75
    exact_side: int = 256
    whole_side: int = 1024
    leading: int = 128

    def __post_init__(self) -> None:
        if self.layers < 0 or min(self.top, self.leading) < 1:
            raise ValueError(f"layers={self.layers}, top={self.top}, leading={self.leading}: 0, 1 and 1 are the least.")
        if not 0 < self.threshold <= 1 or not 0 <= self.repair <= 1:
            raise ValueError(f"threshold={self.threshold} and repair={self.repair} must be in (0, 1] and [0, 1].")


def effective_rank(values: Tensor) -> Tensor:
    """Return the effective rank of singular values along the last dimension, in float64.

    ``exp(-sum p log p)`` with ``p = values / sum(values)`` (Roy and Vetterli, "The effective rank", EUSIPCO 2007). It
    is between 1 and the number of values, and 0 if all values are zero.

    >>> effective_rank(torch.tensor([2.0, 2.0, 2.0, 0.0])).round(decimals=6)
    tensor(3., dtype=torch.float64)
    """
    total = values.double().sum(-1, keepdim=True)
    entropy = torch.special.entr(values.double() / total.clamp_min(TINY)).sum(-1)
    return torch.where(total.squeeze(-1) > 0, entropy.exp(), 0.0)


def stable_rank(values: Tensor) -> Tensor:
    """Return the stable rank of singular values along the last dimension, in float64: ``|M|_F^2 / |M|_2^2``.

    It is at most the rank, and 0 if all values are zero. Rudelson and Vershynin, "Sampling from large matrices", JACM
    2007, call it the numerical rank.

    >>> stable_rank(torch.tensor([2.0, 1.0, 1.0]))
    tensor(1.5000, dtype=torch.float64)
    """
    squares = values.double().square()
    return squares.sum(-1) / squares.amax(-1).clamp_min(TINY)


def product_values(up_LOR: Tensor, down_LRI: Tensor) -> Tensor:
    """Return the singular values (L, K) of ``up @ down`` in float64, without building the product.

    Exact: with ``up = Q1 R1`` and ``down^T = Q2 R2``, the small matrix ``R1 R2^T`` has the same singular values. Costs
    (O + I) R^2 operations per lane.
    """
    right_up = torch.linalg.qr(up_LOR.double(), mode="r").R
    right_down = torch.linalg.qr(down_LRI.double().mT, mode="r").R
    values_LK: Tensor = torch.linalg.svdvals(right_up @ right_down.mT)
    return values_LK


def dense_values(matrix_OI: Tensor) -> Tensor:
    """Return the singular values (K,) of a dense matrix in float64, from the eigenvalues of its smaller Gram matrix.

    The Gram matrix squares the values, so values below 1e-8 of the largest are lost in float64; they are too small to
    change an effective rank. Costs O I min(O, I) operations, several times fewer than a decomposition with vectors.
    """
    wide = matrix_OI.double() if matrix_OI.shape[0] <= matrix_OI.shape[1] else matrix_OI.double().mT
    squares_K: Tensor = torch.linalg.eigvalsh(wide @ wide.mT)
    return squares_K.clamp_min(0).sqrt()


@dataclass(frozen=True)
class BaseVectors:
    """Left singular vectors of a frozen weight, largest value first; ``whole`` is true if these are all of them."""

    left_OK: Tensor
    whole: bool


def base_vectors(weight_OI: Tensor, bounds: Bounds) -> BaseVectors:
    """Return the left singular vectors of a base weight, with which the vectors of tuned weights are compared.

    All vectors if the smaller side is at most ``bounds.whole_side``; else the ``bounds.leading`` first ones, by block
    iteration from random vectors (`leading_vectors`). The vectors depend on the base alone, so compute them once for
    all lanes.
    """
    wide_OI = at_least_float32(weight_OI.detach())
    if min(wide_OI.shape) <= bounds.whole_side:
        return BaseVectors(torch.linalg.svd(wide_OI, full_matrices=False).U, whole=True)
    start_OQ = torch.randn(wide_OI.shape[0], 2 * bounds.leading, generator=Generator().manual_seed(0))
    left_OK, _ = leading_vectors(wide_OI, start_OQ.to(wide_OI), COLD_ROUNDS)
    return BaseVectors(left_OK[:, : bounds.leading], whole=False)


def leading_vectors(weight_OI: Tensor, start_OQ: Tensor, rounds: int = ROUNDS) -> tuple[Tensor, Tensor]:
    """Return approximate left singular vectors (O, Q), largest value first, and their values (Q,).

    Block iteration on ``W W^T`` from ``start_OQ``, then one Rayleigh-Ritz step: 2 O I Q (2 rounds + 1) operations. Let
    s be the singular values of W. The iteration multiplies the tangent of the angle between vector j and the basis by
    at most ``(s_Q+1 / s_j)^(2 rounds)`` (Saad, "Numerical Methods for Large Eigenvalue Problems", subspace iteration).
    Vectors with almost equal values may be mixed with each other, as in every numerical decomposition.
    """
    basis_OQ = torch.linalg.qr(start_OQ).Q
    for _ in range(rounds):
        basis_OQ = torch.linalg.qr(weight_OI @ (weight_OI.mT @ basis_OQ)).Q
    small_QI = basis_OQ.mT @ weight_OI
    squares_Q, turned_QQ = torch.linalg.eigh(small_QI.double() @ small_QI.double().mT)
    return basis_OQ @ turned_QQ.flip(1).to(basis_OQ), squares_Q.flip(0).clamp_min(0).sqrt().to(basis_OQ)


@dataclass(frozen=True)
class Intruders:
    """How many of the leading vectors are intruders: in the weight as it is, and after a repair."""

    count: int
    after_repair: int


def count_intruders(tuned_OI: Tensor, up_OR: Tensor, base: BaseVectors, bounds: Bounds) -> Intruders:
    """Count the intruders of a tuned weight, before and after a repair.

    A left singular vector u among the ``bounds.top`` leading ones of the tuned weight is an intruder if
    ``max_i |<u, u0_i>| < bounds.threshold`` over the base's vectors u0 (Shuttleworth et al., arXiv 2410.21228; PEFT
    also looks at 10 vectors with the threshold 0.5). The base itself has no intruders. A repair multiplies the singular
    values of the intruders by ``bounds.repair`` (the paper's lambda), so that other vectors overtake them.
    ``after_repair`` counts the intruders that would still be among the leading vectors; no weight is changed.

    Exact if base and tuned weight are decomposed exactly (see `Bounds`). Else the tuned vectors come from block
    iteration, which starts at the base's leading vectors and the range of the update (``up_OR``). If ``base.whole`` is
    false, ``count`` is an upper bound: an intruder may match a vector of the base that was not computed.
    """
    if min(tuned_OI.shape) <= bounds.exact_side:
        left_OK, values_K, _ = torch.linalg.svd(tuned_OI, full_matrices=False)
    else:
        start_OQ = torch.cat([base.left_OK[:, : bounds.leading], up_OR], 1).to(tuned_OI)
        left_OK, values_K = leading_vectors(tuned_OI, start_OQ)
    # A repair lets at most `top` other vectors overtake the intruders, so no vector beyond 2 * top can matter.
    left_OK, values_K = left_OK[:, : 2 * bounds.top], values_K[: 2 * bounds.top]
    foreign_K = (left_OK.mT @ base.left_OK.to(left_OK)).abs().amax(1) < bounds.threshold
    intruder_K = foreign_K & (torch.arange(len(foreign_K), device=foreign_K.device) < bounds.top)
    repaired_K = torch.where(intruder_K, bounds.repair * values_K, values_K)
    order_K = repaired_K.argsort(descending=True, stable=True)
    return Intruders(int(intruder_K.sum()), int(intruder_K[order_K[: bounds.top]].sum()))
