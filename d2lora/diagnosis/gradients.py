"""Gradients of effective weights on one batch, and their shares along and across the columns of a weight."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from d2lora.attachment import adapted_layers
from d2lora.diagnosis.numbers import Numbers, over_layers
from d2lora.layers.adapted import AdaptedLinear
from d2lora.layers.lanes import Lane
from d2lora.method import Params
from d2lora.methods import get_method
from d2lora.norms.axes import Axis
from d2lora.norms.base_weight import at_least_float32

Activations = dict[str, tuple[Tensor, Tensor, tuple[int, ...]]]
"""By layer: its input and its output, of shape (rows, ..., features), and how many of the rows belong to each lane."""


@contextmanager
def record_activations(model: nn.Module, names: Sequence[str]) -> Iterator[Activations]:
    """Within: each pass records the inputs and outputs of the named adapted layers; the last pass's records stay."""
    activations: Activations = {}
    layers = adapted_layers(model)
    with ExitStack() as stack:
        for name in names:
            stack.callback(layers[name].register_forward_hook(_record(activations, name)).remove)
        yield activations


def effective_gradients(loss: Tensor, activations: Activations) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Yield each lane that has rows, with the gradient of ``loss`` by the lane's effective weight (O, I) of each layer.

    A layer's output is linear in its effective weight (without dropout), so the gradient is exactly ``sum_N dy x^T``
    over the lane's rows, in float32 or better. One backward gives dy of all layers and leaves the parameters' ``grad``
    alone; then 2 N O I operations per layer. Only one lane's gradients are in memory at a time.

    The gradients of the thin factors do not contain this gradient, only its products with ``up`` and ``down``: neither
    its norm nor its part along the columns of W can be computed from them.
    """
    output_gradients = torch.autograd.grad(loss, [y for _, y, _ in activations.values()])
    lanes = len(next(iter(activations.values()))[2]) if activations else 0
    for lane in range(lanes):
        by_layer = {}
        for (name, (x, _, counts)), dy in zip(activations.items(), output_gradients, strict=True):
            rows = slice(sum(counts[:lane]), sum(counts[: lane + 1]))
            if counts[lane]:
                x_NI, dy_NO = (at_least_float32(tensor[rows].detach().flatten(0, -2)) for tensor in (x, dy))
                by_layer[name] = dy_NO.mT @ x_NI
        if by_layer:
            yield lane, by_layer


def lane_shares(model: nn.Module, lane: int, gradients: Mapping[str, Tensor]) -> Numbers:
    """Return the mean of `gradient_shares` over the layers in ``gradients``; empty if there are none.

    ``gradients[layer]`` (O, I) is the gradient by the lane's effective weight, as `effective_gradients` yields it.
    """
    layers = adapted_layers(model)
    each = []
    for name, gradient_OI in gradients.items():
        layer = layers[name]
        weight_OI = at_least_float32(layer.weight)
        each.append(gradient_shares(weight_OI, layer.params(lane), layer.lanes[lane], gradient_OI))
    return over_layers(each)


def gradient_shares(weight_OI: Tensor, params: Params, lane: Lane, gradient_OI: Tensor) -> Numbers:
    """Return the share of the squared gradient by ``V = W + dW`` along the columns of V, and the share across them.

    ``gradient_OI`` is the gradient by the effective weight. The effective weight is a function of V, so backward of the
    method's own equation carries the gradient back to V, as G. Then, over the columns k of the method's axis,
    ``radial_share = sum_k (G_k . V_k / |V_k|)^2 / |G|^2``, and ``tangential_share = 1 - radial_share``. Empty if the
    gradient is zero or not finite.

    A projection whose backward goes through the norm lets no radial gradient through: 0. For a gradient in a random
    direction the radial share is 1 / (length of a column) on average.
    """
    method = get_method(lane.method)
    fixed = {name: value.detach().to(weight_OI) for name, value in params.items()}
    update_OI = method.update(fixed, lane.config).requires_grad_()
    with torch.enable_grad():
        acting_OI = method.with_update(weight_OI.detach(), update_OI, fixed, lane.config)
    (back_OI,) = torch.autograd.grad(acting_OI, update_OI, gradient_OI.to(acting_OI))
    dim = 1 if axis_of(lane) == "out" else 0
    unit_OI = normalize(weight_OI.detach() + update_OI.detach(), dim=dim, eps=1e-30)
    along2, total = torch.stack([(back_OI * unit_OI).sum(dim).square().sum(), back_OI.square().sum()]).tolist()
    if not (total > 0 and math.isfinite(total)):
        return {}
    return {"radial_share": along2 / total, "tangential_share": 1 - along2 / total}


def axis_of(lane: Lane) -> Axis:
    """Return the axis along which the lane's method takes norms; "out" for a method without norms."""
    axis: Axis = getattr(lane.config, "norm_axis", "out")
    return axis


def _record(activations: Activations, name: str) -> Any:
    def record(layer: AdaptedLinear, args: tuple[Tensor], output: Tensor) -> None:
        activations[name] = args[0], output, layer.rows_of_lanes(args[0])

    return record
