"""Singular values and vectors, by which an update is told from its base: ranks, and directions that W has not.

Two letters of this file alone: K counts singular values or vectors, Q the columns of a basis.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from d2lora.norms.base_weight import at_least_float32

TINY = 1e-300  # in float64; keeps a quotient of zeros at zero
ROUNDS = 2  # of block iteration from a start that holds most of the answer
COLD_ROUNDS = 4  # from a random start


@dataclass(frozen=True)
class Bounds:
    """What a diagnosis may cost, and what it calls an intruder.

    layers      how many adapted layers get the dense measures, spread evenly over the model; 0 for none of them
    top         how many leading singular vectors of the tuned weight are looked at
    threshold   the cosine below which such a vector is an intruder
    repair      what a repair multiplies an intruder's singular value by
    exact_side  weights with a smaller side up to this are decomposed whole, once a lane
    whole_side  up to this, the base's vectors are all there and the whole update's values are computed; once a model
    leading     how many of the base's vectors a larger weight is compared with
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
    """Return exp of the entropy of the distribution of singular values, over the last dimension, in float64.

    ``exp(-sum p log p)`` with ``p = values / sum(values)`` (Roy and Vetterli, "The effective rank", EUSIPCO 2007):
    between 1 and the number of values; 0 where all are zero.
    """
    total = values.double().sum(-1, keepdim=True)
    entropy = torch.special.entr(values.double() / total.clamp_min(TINY)).sum(-1)
    return torch.where(total.squeeze(-1) > 0, entropy.exp(), 0.0)


def stable_rank(values: Tensor) -> Tensor:
    """Return ``|M|_F^2 / |M|_2^2`` of singular values over the last dimension: at most the rank; 0 for zero.

    As in Rudelson and Vershynin, "Sampling from large matrices", JACM 2007, where it is called numerical rank.
    """
    squares = values.double().square()
    return squares.sum(-1) / squares.amax(-1).clamp_min(TINY)


def product_values(up_LOR: Tensor, down_LRI: Tensor) -> Tensor:
    """Return the singular values (L, K) of ``up @ down`` in float64, without making it.

    Exact: with ``up = Q1 R1`` and ``down^T = Q2 R2`` they are those of the thin ``R1 R2^T``. Costs (O + I) R^2.
    """
    right_up = torch.linalg.qr(up_LOR.double(), mode="r").R
    right_down = torch.linalg.qr(down_LRI.double().mT, mode="r").R
    values_LK: Tensor = torch.linalg.svdvals(right_up @ right_down.mT)
    return values_LK


def dense_values(matrix_OI: Tensor) -> Tensor:
    """Return the singular values of a matrix that is there, from the eigenvalues of its smaller Gram matrix.

    In float64, so that what squaring loses (values below 1e-8 of the largest) weighs nothing in an entropy. Costs
    O I min(O, I), several times less than a decomposition with vectors.
    """
    wide = matrix_OI.double() if matrix_OI.shape[0] <= matrix_OI.shape[1] else matrix_OI.double().mT
    squares_K: Tensor = torch.linalg.eigvalsh(wide @ wide.mT)
    return squares_K.clamp_min(0).sqrt()


@dataclass(frozen=True)
class BaseVectors:
    """Left singular vectors of a frozen weight, by falling value; ``whole`` tells whether they are all."""

    left_OK: Tensor
    whole: bool


def base_vectors(weight_OI: Tensor, bounds: Bounds) -> BaseVectors:
    """Return what tuned vectors are compared with: a function of the base alone, to be kept for all its lanes.

    All vectors where the smaller side is at most ``bounds.whole_side``, else the ``bounds.leading`` first by block
    iteration from random vectors (see `leading_vectors`).
    """
    wide_OI = at_least_float32(weight_OI.detach())
    if min(wide_OI.shape) <= bounds.whole_side:
        return BaseVectors(torch.linalg.svd(wide_OI, full_matrices=False).U, whole=True)
    start_OQ = torch.randn(wide_OI.shape[0], 2 * bounds.leading, generator=Generator().manual_seed(0))
    left_OK, _ = leading_vectors(wide_OI, start_OQ.to(wide_OI), COLD_ROUNDS)
    return BaseVectors(left_OK[:, : bounds.leading], whole=False)


def leading_vectors(weight_OI: Tensor, start_OQ: Tensor, rounds: int = ROUNDS) -> tuple[Tensor, Tensor]:
    """Return approximate left singular vectors (O, Q), by falling value, and their values.

    Block iteration on ``W W^T`` from ``start`` and one Rayleigh-Ritz step; 2 O I Q (2 rounds + 1) operations. With s
    the singular values of W, the tangent of the angle between vector j and the basis is at most
    ``(s_Q+1 / s_j)^(2 rounds)`` times what it was at the start (Saad, "Numerical Methods for Large Eigenvalue
    Problems", on subspace iteration); vectors with almost equal values may come mixed, as they do everywhere.
    """
    basis_OQ = torch.linalg.qr(start_OQ).Q
    for _ in range(rounds):
        basis_OQ = torch.linalg.qr(weight_OI @ (weight_OI.mT @ basis_OQ)).Q
    small_QI = basis_OQ.mT @ weight_OI
    squares_Q, turned_QQ = torch.linalg.eigh(small_QI.double() @ small_QI.double().mT)
    return basis_OQ @ turned_QQ.flip(1).to(basis_OQ), squares_Q.flip(0).clamp_min(0).sqrt().to(basis_OQ)


@dataclass(frozen=True)
class Intruders:
    """Intruders among the leading vectors: ``found`` as the weight is, ``left`` after a repair."""

    found: int
    left: int


def count_intruders(tuned_OI: Tensor, up_OR: Tensor, base: BaseVectors, bounds: Bounds) -> Intruders:
    """Count the intruder dimensions of a tuned weight, before and after their repair.

    A leading left singular vector u of the tuned weight is an intruder if ``max_i |<u, u0_i>| < threshold`` over the
    base's vectors u0 (Shuttleworth et al., arXiv 2410.21228; PEFT looks at 10 and takes 0.5 as well). A repair
    multiplies the singular values of those found by ``repair`` (the paper's lambda; W itself is left alone), whereby
    they fall behind others: ``left`` of them are still among the leading ones. The base itself has none.

    Exact where base and tuned weight are decomposed whole. Else the tuned vectors come from block iteration that
    starts at the base's leading vectors and the range of the update (``up``); and where ``base.whole`` is false a
    vector may match one of the base beyond those compared, so ``found`` is then an upper bound.
    """
    if min(tuned_OI.shape) <= bounds.exact_side:
        left_OK, values_K, _ = torch.linalg.svd(tuned_OI, full_matrices=False)
    else:
        start_OQ = torch.cat([base.left_OK[:, : bounds.leading], up_OR], 1).to(tuned_OI)
        left_OK, values_K = leading_vectors(tuned_OI, start_OQ)
    looked = 2 * bounds.top  # a repair lets at most ``top`` others move up
    left_OK, values_K = left_OK[:, :looked], values_K[:looked]
    foreign_K = (left_OK.mT @ base.left_OK.to(left_OK)).abs().amax(1) < bounds.threshold
    found_K = foreign_K & (torch.arange(len(foreign_K), device=foreign_K.device) < bounds.top)
    repaired_K = torch.where(found_K, bounds.repair * values_K, values_K)
    order_K = repaired_K.argsort(descending=True, stable=True)
    return Intruders(int(found_K.sum()), int(found_K[order_K[: bounds.top]].sum()))
