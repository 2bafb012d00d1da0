"""Pure: the matched controls of a D2-LoRA method: what each control holds equal, and what it takes away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from d2lora import get_method
from orchestrator.recipe.sections import MethodSpec

REFERENCE = "d2lora"
Pairs = Sequence[tuple[MethodSpec, MethodSpec]]
"""A D2-LoRA method and a control of it."""


def controls_of(method: MethodSpec) -> list[MethodSpec]:
    """Return the controls of one D2-LoRA method; a control's ``control`` says what it shares with the method and lacks.

    Both pairs of D2-LoRA are exactly one LoRA whose rank R is the sum of their ranks:
    ``[up_plus, up_minus] @ [down_plus; -tau down_minus]``. So LoRA and DoRA have rank R and alpha * R / r, which leaves
    the scale at alpha / r, and LoRA draws its start as the two pairs draw theirs. With readd = 1 the update counts
    about twice near the start, hence a LoRA with 2 alpha, and a D2-LoRA with readd = 0. Both ups start at zero, so a
    minus pair without gradient stays at zero. Hence minus-detached trains the same adapter as minus-off, from other
    draws, and a difference between minus-detached and minus-off is noise.

    Dropout and targets are those of ``method``. A setting that a control has no use for is left at its default, so that
    D2-LoRA methods which differ in that setting alone share the control. ValueError where LoRA cannot draw its start as
    the two pairs draw theirs.
    """
    given = method.settings
    total, rank = _rank(given), int(given["rank"])
    same, words = {"rank": total, "alpha": given["alpha"] * (total / rank)}, _rank_words(total, rank)
    twice = {"rank": rank, "alpha": 2 * given["alpha"]}
    drawn = {"start": _start(method.label, given)}
    held = f"rank {words}, scale alpha/r"
    bare = f"{held} and start of both pairs; no sign, projection or re-adding"
    controls = [
        _low_rank(method, f"lora-{words}", bare, same | drawn),
        _low_rank(method, "lora-2alpha", "scale 2 alpha/r, which re-adding comes to; no projection", twice),
        _low_rank(method, f"dora-{words}", f"{held}; learned magnitudes, no projection", same),
        _without(method, "readd-0", "all but re-adding the update", readd=0),
        _without(method, "minus-off", "all but the minus pair", minus="off"),
        _without(method, "minus-detached", "all but the minus pair's gradient", minus="detach"),
        _without(method, "projection-off", "all but projection and re-adding", projection="off", readd=0),
    ]
    has_minus = given["minus"] != "off"
    return [control for control in controls if has_minus or control.label != "minus-detached"]


def with_controls(named: Sequence[MethodSpec], pairs: Pairs) -> list[MethodSpec]:
    """Return the methods of a recipe, then each control once, unless it equals a method of the recipe.

    Several controls may have one label, because the D2-LoRA methods of a recipe differ. Such a label then shows the
    settings that the control's own D2-LoRA methods share, of all settings in which D2-LoRA methods differ:
    ``lora-2r(rank=4)``.
    """
    known = {_acts(method) for method in named}
    serves: dict[tuple[Any, ...], list[MethodSpec]] = {}
    first: dict[tuple[Any, ...], MethodSpec] = {}
    for method, control in pairs:
        if (acts := _acts(control)) not in known:
            first.setdefault(acts, control)
            serves.setdefault(acts, []).append(method)
    varied = _shared([method for method, _ in pairs], differing=True)
    labels = Counter(control.label for control in first.values())
    return [
        *named,
        *(
            control if labels[control.label] == 1 else _distinguished(control, varied, serves[acts])
            for acts, control in first.items()
        ),
    ]


def _rank(given: Mapping[str, Any]) -> int:
    """Return the rank of both pairs together."""
    minus = 0 if given["minus"] == "off" else given["rank_minus"] or given["rank"]
    return int(given["rank"] + minus)


def _rank_words(total: int, rank: int) -> str:
    return {rank: "r", 2 * rank: "2r"}.get(total, f"rank-{total}")


def _start(label: str, given: Mapping[str, Any]) -> str:
    """Return LoRA's name for the distributions that the two pairs' ``down`` are drawn from."""
    plus, minus = str(given["start"]).split("-")
    if given["minus"] == "off" or plus == minus:
        return plus
    total, rank = _rank(given), int(given["rank"])
    kaiming = rank if plus == "kaiming" else total - rank
    if kaiming != (total + 1) // 2:
        raise ValueError(
            f"controls: matched cannot give {label!r} a LoRA with its start: of rank {total}, D2-LoRA draws {kaiming} "
            f"rows from Kaiming's distribution, LoRA's start=halves {(total + 1) // 2}. Take rank_minus={rank}, "
            "start: kaiming-kaiming, or controls: none for this method and controls of your own."
        )
    return "halves"


def _low_rank(method: MethodSpec, label: str, why: str, settings: Mapping[str, Any]) -> MethodSpec:
    return _made(method, (label.partition("-")[0], label, why), {"dropout": method.settings["dropout"], **settings})


def _without(method: MethodSpec, label: str, why: str, **changes: Any) -> MethodSpec:
    return _made(method, (REFERENCE, label, why), _in_use({**method.settings, **changes}))


def _made(method: MethodSpec, names: tuple[str, str, str], settings: Mapping[str, Any]) -> MethodSpec:
    name, label, why = names
    config = get_method(name).Config(**settings)
    return MethodSpec.of(name, config, label=label, targets=method.targets, control=why)


def _in_use(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return D2-LoRA's settings without those that decide nothing, because their pair or projection is off."""
    idle: set[str] = set()
    if settings["minus"] == "off":
        idle |= {"tau", "rank_minus"}
    elif settings["rank_minus"] == settings["rank"]:
        idle.add("rank_minus")
    if settings["projection"] == "off":
        idle |= {"norm_axis", "norm_grad"}
    used = {name: value for name, value in settings.items() if name not in idle}
    if settings["minus"] == "off":  # the half of the start that is for the minus pair draws nothing
        plus = str(settings["start"]).partition("-")[0]
        used["start"] = {"kaiming": "kaiming-normal", "normal": "normal-kaiming"}[plus]
    return used


def _acts(method: MethodSpec) -> tuple[Any, ...]:
    """Return all that decides what a method trains: two controls with equal values are one control."""
    settings = _in_use(method.settings) if method.name == REFERENCE else method.settings
    return (method.name, method.patterns, *sorted((name, repr(v)) for name, v in settings.items()))


def _distinguished(control: MethodSpec, varied: Mapping[str, Any], served: Sequence[MethodSpec]) -> MethodSpec:
    """Return the control with those ``varied`` settings in its label that the methods which it serves share."""
    shared = _shared(served, differing=False)
    inside = ",".join(f"{name}={shared[name]}" for name in varied if name in shared)
    return control.model_copy(update={"label": f"{control.label}({inside})" if inside else control.label})


def _shared(methods: Sequence[MethodSpec], *, differing: bool) -> dict[str, Any]:
    """Return the settings that are equal in all methods, or those that differ, with the values of the first method."""
    each = [{**method.settings, "targets": method.targets} for method in methods]
    return {
        name: value
        for name, value in (each[0] if each else {}).items()
        if any(other[name] != value for other in each) == differing
    }
