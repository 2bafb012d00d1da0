"""The arms of the step-time bench: a frozen Llama with PEFT's adapters, with dense weights, or with this library's."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

import d2lora
from benchmarks.models import RANK

ALPHA = 16.0
TAU = 0.5
Weights = Callable[[Tensor, dict[str, Tensor]], Tensor]


@dataclass
class Arm:
    """A model with adapters; ``parameters`` are the trained tensors, under the same names in all arms of a method."""

    model: Any
    parameters: dict[str, nn.Parameter]
    hold: Callable[[], Any]

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.AdamW(self.parameters.values(), lr=1e-4, fused=True)

    def backward(self, micros: Sequence[Tensor]) -> float:
        """Add up the gradients of the micro batches; return the mean loss."""
        total = 0.0
        with self.hold() as held:
            for ids_BT in micros:
                loss = self.model(input_ids=ids_BT, labels=ids_BT, use_cache=False).loss / len(micros)
                loss.backward()
                total += float(loss.detach())
            if held is not None:
                held.backward()
        return total

    def step(self, micros: Sequence[Tensor]) -> None:
        """Do one whole optimizer step."""
        self.backward(micros)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def gradients(self, micros: Sequence[Tensor]) -> tuple[float, dict[str, Tensor]]:
        """Return the loss and each parameter's gradient; the parameters' ``grad`` is empty afterwards."""
        loss = self.backward(micros)
        parameters = self.parameters.items()
        gradients = {name: value.grad.clone() for name, value in parameters if value.grad is not None}
        self.optimizer.zero_grad()
        return loss, gradients


def move(arm: Arm, seed: int = 0) -> None:
    """Draw every parameter anew, in the order of names, because ups that start at zero give ``down`` no gradient."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in sorted(arm.parameters):
            noise = 0.02 * torch.randn(arm.parameters[name].shape, generator=generator)
            if name.endswith("magnitude"):
                arm.parameters[name].mul_(1 + noise)
            else:
                arm.parameters[name].copy_(noise)


def peft_arm(model: Any, layers: Sequence[str], *, dora: bool) -> Arm:
    """Return PEFT's LoRA or DoRA at rank 2r, which has as many parameters as D2-LoRA's two pairs."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=2 * RANK, lora_alpha=2 * ALPHA, lora_dropout=0.0, target_modules=list(layers), use_dora=dora, bias="none"
    )
    adapted = get_peft_model(model, config)
    parts = {"lora_A.default.weight": "down", "lora_B.default.weight": "up"}
    parts["lora_magnitude_vector.default.weight"] = "magnitude"
    named = {
        name.removeprefix("base_model.model.").removesuffix(part) + plain: parameter
        for name, parameter in adapted.named_parameters()
        for part, plain in parts.items()
        if name.endswith(part)
    }
    return Arm(adapted.train(), named, nullcontext)


def frozen_arm(model: Any, layers: Sequence[str]) -> Arm:  # noqa: ARG001 - an arm's arguments
    """Return the base without adapters; backward goes down to the first block's norm. No adapter can cost less."""
    model.requires_grad_(False)
    first = model.model.layers[0].input_layernorm.weight.requires_grad_(True)
    return Arm(model.train(), {"first norm": first}, nullcontext)


def our_arm(model: Any, layers: Sequence[str], method: str, **settings: Any) -> Arm:
    """Return one lane of this library: D2-LoRA at rank r, or LoRA or DoRA at rank 2r.

    Norms are computed once per optimizer step.
    """
    d2lora.attach(model, method, _config(method, settings), _patterns(layers))
    return Arm(model.train(), _own(d2lora.adapter_parameters(model)), lambda: d2lora.held_factors(model))


def dense_arm(model: Any, layers: Sequence[str], **settings: Any) -> Arm:
    """Return D2-LoRA by its definition: every forward builds the dense effective weight, and autograd does backward."""
    config = _config("d2lora", settings)
    definition = d2lora.get_method("d2lora").effective_weight

    def weights_of(_: Tensor) -> Weights:
        return lambda weight_OI, params: definition(weight_OI, params, config)

    return _with_dense_weights(model, layers, config, weights_of)


def tuned_dense_arm(model: Any, layers: Sequence[str]) -> Arm:
    """Return the fastest dense D2-LoRA that we can write: W's norms are kept, both pairs are one product."""
    config = _config("d2lora", {})

    def weights_of(frozen_OI: Tensor) -> Weights:
        norms_O = torch.linalg.vector_norm(frozen_OI, dim=1)

        def act(weight_OI: Tensor, params: dict[str, Tensor]) -> Tensor:
            up_OR = torch.cat([params["up_plus"], params["up_minus"]], 1)
            down_RI = config.scale * torch.cat([params["down_plus"], -TAU * params["down_minus"]])
            delta_OI = up_OR @ down_RI
            moved_OI = weight_OI + delta_OI
            scale_O = norms_O / torch.linalg.vector_norm(moved_OI, dim=1)
            return torch.addcmul(delta_OI, moved_OI, scale_O[:, None])

        return act

    return _with_dense_weights(model, layers, config, weights_of)


class DenseLinear(nn.Module):
    """A frozen linear layer that builds its effective weight from its adapter in every forward."""

    def __init__(self, frozen: nn.Linear, params: dict[str, Tensor], weights: Weights) -> None:
        super().__init__()
        self.weight, self.weights = frozen.weight, weights
        self.params = nn.ParameterDict(params)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` times the effective weight."""
        return linear(x, self.weights(self.weight, dict(self.params.items())))


def _with_dense_weights(model: Any, layers: Sequence[str], config: Any, weights_of: Callable[[Tensor], Weights]) -> Arm:
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    named: dict[str, nn.Parameter] = {}
    for name in d2lora.match_targets(model, _patterns(layers)):
        frozen = model.get_submodule(name)
        start = d2lora.get_method("d2lora").init(frozen.weight.detach(), config, generator)
        layer = DenseLinear(frozen, start, weights_of(frozen.weight.detach()))
        model.set_submodule(name, layer)
        named |= {f"{name}.{key}": layer.params[key] for key in start}
    return Arm(model.train(), named, nullcontext)


def _config(method: str, settings: dict[str, Any]) -> Any:
    pairs = 1 if method == "d2lora" else 2
    own = {"tau": TAU} if method == "d2lora" else {}
    return d2lora.get_method(method).Config(**({"rank": pairs * RANK, "alpha": pairs * ALPHA} | own | settings))


def _patterns(layers: Sequence[str]) -> list[str]:
    return [f"*.{layer}" for layer in layers]


def _own(trained: dict[str, Any]) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in trained.items() if isinstance(parameter, nn.Parameter)}
