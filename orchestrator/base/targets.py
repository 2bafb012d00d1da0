"""Which layers of a base the targets of a recipe name, and which layers of a base cannot be adapted."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile

from torch import nn

from d2lora.layers.adaptable import unfit_layers
from d2lora.names import matching
from orchestrator.errors import InputError
from orchestrator.recipe.targets import targets_of
from orchestrator.wording import count


def target_layers(model: nn.Module, targets: str) -> dict[str, tuple[int, int]]:
    """Return the layers that ``targets`` name, with their (out, in) features; ``model`` may be without weights.

    InputError if a pattern matches no linear layer, or if the head is among the layers; the error lists the patterns of
    layers that can be adapted.
    """
    linears = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    head = [name for name, layer in linears.items() if layer is model.get_output_embeddings()]  # type: ignore[operator]
    for pattern in targets_of(targets):
        if not matching(linears, pattern):
            raise InputError(
                f"targets={targets!r}: Target {pattern!r} matches no linear layer of the model. {choices(model)}"
            )
    named = _named(linears, targets_of(targets))
    if not named:
        raise InputError(f"targets={targets!r} names no layer. {choices(model)}")
    if targeted := [name for name in head if name in named]:
        raise InputError(
            f"targets={targets!r} names the head, {targeted[0]}: it gets tokens of answers alone, not the rows of "
            f"lanes, and cannot be adapted. {choices(model)}"
        )
    return {name: (layer.out_features, layer.in_features) for name, layer in named.items()}


def remarks_on_experts(model: nn.Module, targets: str) -> list[str]:
    """Return a remark if the targets name layers of blocks whose experts are fused and so cannot be adapted.

    Fused experts are one weight of 3 dimensions, not linear layers.
    """
    named = [_numberless(name) for name in target_layers(model, targets)]
    fused = [  # the fused weights of blocks that also hold a named layer
        name
        for name in _fused(model)
        if any(layer.startswith(f"{_numberless(name.rsplit('.', 2)[0])}.") for layer in named)
    ]
    if not fused:
        return []
    return [
        f"targets={targets!r} leaves out {count(len(fused), 'fused weight')} of experts ({_some(fused)}), which cannot "
        "be adapted; the other layers of these blocks are"
    ]


@contextmanager
def unreached(model: nn.Module, targets: Iterable[str]) -> Iterator[list[str]]:
    """Within: the caller runs rows through ``model``. At the end the list has a remark if target layers got no input.

    Such layers stay as they are but count as trained, for example experts to which no row is routed.
    """
    patterns = [pattern for text in targets for pattern in targets_of(text)]
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    waiting = _named(layers, patterns)
    all_names, remarks = list(waiting), list[str]()
    hooks = [
        layer.register_forward_pre_hook(lambda *_, name=name: waiting.pop(name, None) and None)
        for name, layer in list(waiting.items())
    ]
    try:
        yield remarks
    finally:
        for hook in hooks:
            hook.remove()
    if waiting:
        remarks.append(
            f"{len(waiting)} of {len(all_names)} layers that targets name get nothing from these rows "
            f"({_some(list(waiting))}): they stay as they are, and count as trained."
            + _without(waiting, [name for name in all_names if name not in waiting])
        )


def _without(waiting: Iterable[str], reached: Sequence[str]) -> str:
    """Return a sentence with a pattern that matches ``reached``, the layers that got input, and no ``waiting`` layer.

    Return "" if the names of the reached layers do not begin alike.
    """
    parts = zip(*(name.split(".") for name in reached), strict=False)
    begin = [at[0] for at in takewhile(lambda at: len(set(at)) == 1, parts)]
    pattern = ".".join([*begin, f"*{_leaf(reached[0])}"]) if reached else ""
    usable = begin and not any(name.startswith(".".join(begin)) for name in waiting)
    return f" To leave these layers out, take a pattern that matches only the others: {pattern}." if usable else ""


def choices(model: nn.Module) -> str:
    """Return a sentence with the patterns of layers that can be adapted; no pattern matches the head or an unfit layer.

    If no layer can be adapted, the sentence says why, and names bases whose layers can be adapted.
    """
    head = model.get_output_embeddings()  # type: ignore[operator]
    unfit = unfit_layers(model)
    linears = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    never = {_leaf(name) for name, layer in linears.items() if layer is head or id(layer) in unfit}
    others = sorted({f"{_leaf(name)} ({type(layer).__name__})" for name, layer in _other_layers(model, unfit, head)})
    others += sorted({f"{_leaf(name)} (of 3 dimensions)" for name in _fused(model)})
    cannot = f" It has other weights that cannot be adapted: {', '.join(others)}." if others else ""
    usable = sorted({_leaf(name) for name in linears} - never)
    if not usable:
        return (
            f"{type(model).__name__} has no linear layer (nn.Linear) but its head, so no target would do.{cannot} Take "
            "a base whose blocks have linear layers, such as Llama, Mistral, Qwen, Gemma or OPT."
        )
    return f"There are: {', '.join(f'*.{leaf}' for leaf in usable)}.{cannot}"


def _other_layers(model: nn.Module, unfit: Container[int], head: nn.Module | None) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers with a weight matrix that cannot be adapted, except embeddings and the head."""
    for name, layer in model.named_modules():
        weight = getattr(layer, "weight", None)
        if not isinstance(weight, nn.Parameter) or weight.ndim != 2 or isinstance(layer, nn.Embedding) or layer is head:
            continue
        if not isinstance(layer, nn.Linear) or id(layer) in unfit:
            yield name, layer


def _fused(model: nn.Module) -> list[str]:
    """Return the names of fused weights of experts, which have the shape (experts, out, in) and no dimension of 1.

    A weight of 3 dimensions with a dimension of 1 is a learned token, not experts.
    """
    fused = (name for name, weight in model.named_parameters() if weight.ndim == 3 and min(weight.shape) > 1)
    return [name for name in fused if not name.endswith((".weight", ".bias"))]


def _named(layers: Mapping[str, nn.Linear], patterns: Iterable[str]) -> dict[str, nn.Linear]:
    """Return the layers that any of the patterns matches, as `d2lora.attach` matches them, in model order."""
    names = {name for pattern in patterns for name in matching(layers, pattern)}
    return {name: layer for name, layer in layers.items() if name in names}


def _numberless(name: str) -> str:
    """Return the name with "#" for each number: "model.layers.#.mlp"."""
    return re.sub(r"\d+", "#", name)


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")
