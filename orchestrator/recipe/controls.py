"""Pure: the matched controls of a D2-LoRA method: what a fair comparison holds equal, and what each takes away."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from d2lora import get_method
from orchestrator.recipe.sections import MethodSpec

REFERENCE = "d2lora"
Pairs = Sequence[tuple[MethodSpec, MethodSpec]]
"""A D2-LoRA method and a control of it."""


def controls_of(method: MethodSpec) -> list[MethodSpec]:
    """Return the controls of one D2-LoRA method; ``control`` says what each shares, and what it lacks.

    Both pairs of D2-LoRA are exactly one LoRA of their ranks' sum R: ``[up_plus, up_minus] @ [down_plus; -tau
    down_minus]``. So LoRA and DoRA have rank R and alpha * R / r, which leaves the scale at alpha / r, and LoRA draws
    its start as the two pairs draw theirs. With readd = 1 the update counts about twice near the start, hence LoRA at
    2 alpha and readd = 0. Both ups start at zero, so a minus pair without gradient stays there: minus-detached trains
    what minus-off trains, from other draws, and a difference between those two is noise.

    Dropout and targets are those of ``method``; what a control has no use for is left at its default, so that methods
    which differ in nothing else share it. ValueError where LoRA's start cannot be matched.
    """
    given = method.settings
    total, rank = _rank(given), int(given["rank"])
    same, words = {"rank": total, "alpha": given["alpha"] * (total / rank)}, _rank_words(total, rank)
    twice = {"rank": rank, "alpha": 2 * given["alpha"]}
    drawn = {"start": _start(method.label, given)}
    held = f"rank {words}, scale alpha/r"
    bare = f"{held} and start of both pairs; no sign, projection or re-adding"
    found = [
        _low_rank(method, f"lora-{words}", bare, same | drawn),
        _low_rank(method, "lora-2alpha", "scale 2 alpha/r, which re-adding comes to; no projection", twice),
        _low_rank(method, f"dora-{words}", f"{held}; learned magnitudes, no projection", same),
        _without(method, "readd-0", "all but re-adding the update", readd=0),
        _without(method, "minus-off", "all but the minus pair", minus="off"),
        _without(method, "minus-detached", "all but the minus pair's gradient", minus="detach"),
        _without(method, "projection-off", "all but projection and re-adding", projection="off", readd=0),
    ]
    return [one for one in found if one.label != "minus-detached" or given["minus"] != "off"]  # no pair to detach


def with_controls(named: Sequence[MethodSpec], pairs: Pairs) -> list[MethodSpec]:
    """Return the methods that a recipe names, then the controls, each once and none that is named already.

    A control that stands there in several forms tells by its label which: by those settings, of all in which the
    D2-LoRA methods differ, that its own D2-LoRA methods share, ``lora-2r(rank=4)``.
    """
    known = {_acts(method) for method in named}
    serves: dict[tuple[Any, ...], list[MethodSpec]] = {}
    first: dict[tuple[Any, ...], MethodSpec] = {}
    for method, control in pairs:
        if (acts := _acts(control)) not in known:
            first.setdefault(acts, control)
            serves.setdefault(acts, []).append(method)
    varied = _shared([method for method, _ in pairs], differing=True)
    forms = [control.label for control in first.values()]
    return [
        *named,
        *(
            control if forms.count(control.label) == 1 else _told_apart(control, varied, serves[acts])
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
    resolved = dataclasses.asdict(get_method(name).Config(**settings))
    return MethodSpec(name=name, settings=resolved, label=label, targets=method.targets, control=why)


def _in_use(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return D2-LoRA's settings without those that decide nothing: of a pair or a projection that is not there."""
    idle: set[str] = set()
    if settings["minus"] == "off":
        idle |= {"tau", "rank_minus"}
    elif settings["rank_minus"] == settings["rank"]:
        idle.add("rank_minus")
    if settings["projection"] == "off":
        idle |= {"norm_axis", "norm_grad"}
    found = {name: value for name, value in settings.items() if name not in idle}
    if settings["minus"] == "off":  # the other half of its start draws nothing
        plus = str(settings["start"]).partition("-")[0]
        found["start"] = {"kaiming": "kaiming-normal", "normal": "normal-kaiming"}[plus]
    return found


def _acts(method: MethodSpec) -> tuple[Any, ...]:
    """Return what tells methods apart that do not train the same: two with the same are one control."""
    settings = _in_use(method.settings) if method.name == REFERENCE else method.settings
    return (method.name, method.patterns, *sorted((name, repr(v)) for name, v in settings.items()))


def _told_apart(control: MethodSpec, varied: Mapping[str, Any], served: Sequence[MethodSpec]) -> MethodSpec:
    shared = _shared(served, differing=False)
    inside = ",".join(f"{name}={shared[name]}" for name in varied if name in shared)
    return control.model_copy(update={"label": f"{control.label}({inside})" if inside else control.label})


def _shared(methods: Sequence[MethodSpec], *, differing: bool) -> dict[str, Any]:
    """Return the settings in which the methods are alike, or those in which they differ, with the first's values."""
    each = [{**method.settings, "targets": method.targets} for method in methods]
    return {
        name: value
        for name, value in (each[0] if each else {}).items()
        if any(other[name] != value for other in each) == differing
    }
