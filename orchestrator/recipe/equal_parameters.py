"""Pure: the ranks at which all methods of a sweep train as many parameters, or a refusal with the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from d2lora import get_method
from orchestrator.errors import InputError
from orchestrator.recipe.controls import REFERENCE
from orchestrator.recipe.sections import MethodSpec
from orchestrator.recipe.spec import SweepSpec

Layers = Mapping[str, tuple[int, int]]
"""The (out, in) features of a method's target layers by name."""

TOLERANCE = 0.05
"""How far a method's trained parameters may be from the reference's, as a share of the reference's.

Our own choice. Ranks are whole, so a method at the nearest of them is off by up to half a step, 1 / (2 * rank): 3 % at
rank 16, 6 % at rank 8. What such a gap can do: five paired seeds whose differences spread by one point detect 1.7
points, and 5 % more parameters are a fourteenth of a doubling. If accuracy grows with the logarithm of the parameters,
doubling them would have to be worth 24 points before the gap alone could pass for a finding. A tighter tolerance would
refuse DoRA, whose magnitudes are half a rank's worth of a square layer's parameters, where it is used: 5 % lets it in
from rank 10 up, 2 % from 25. A wider one would call equal what recipes compare: ranks 8 and 9 are 12 % apart.
"""
HIGHEST = 4  # times the reference's rank: as far as a remedy is looked for


@dataclass(frozen=True)
class Fit:
    """A rank that a method could take, the parameters that it then trains, and how far off they are, as a share."""

    rank: int
    count: int
    off: float


def within_budget(sweep: SweepSpec, layers_of: Callable[[str], Layers]) -> SweepSpec:
    """Return the sweep with the ranks that its ``budget`` asks for; ``layers_of(targets)`` are a base's target layers.

    InputError where methods cannot be equalised, or become the same. A sweep without a budget is returned as it is.
    """
    if sweep.budget == "none":
        return sweep
    layers = {targets: layers_of(targets) for targets in {method.targets for method in sweep.methods}}
    return sweep.model_copy(update={"methods": equalised(sweep.methods, layers)})


def equalised(methods: Sequence[MethodSpec], layers: Mapping[str, Layers]) -> list[MethodSpec]:
    """Return the methods, each at the rank at which it trains about as many parameters as the reference.

    The reference is the first D2-LoRA method, else the first of all; it stays as it is. ``alpha`` moves with the rank,
    so that the scale alpha / rank stays, and so does ``rank_minus``. Counted are the tensors that a run has, which is
    what its row says: those of a minus pair without gradient too. A control that thereby becomes a method that the
    recipe names is left out. InputError with every method's count where one is further off than `TOLERANCE`.
    """
    reference = next((method for method in methods if method.name == REFERENCE), methods[0])
    wanted = trained_parameters(reference, layers[reference.targets])
    fits = {method.label: nearest(method, layers[method.targets], wanted) for method in methods if method != reference}
    fits[reference.label] = [Fit(int(reference.settings["rank"]), wanted, 0.0)]
    if any(abs(found[0].off) > TOLERANCE for found in fits.values()):
        raise InputError(_refusal(methods, reference, fits, layers))
    return _each_once(methods, [at_rank(method, fits[method.label][0].rank) for method in methods])


def trained_parameters(method: MethodSpec, layers: Layers) -> int:
    """Return how many parameters a run of the method trains; InputError with the layer that its rank does not fit."""
    module = get_method(method.name)
    config = module.Config(**method.settings)
    count = 0
    for layer, (out_features, in_features) in layers.items():
        try:
            count += sum(map(prod, module.shapes(out_features, in_features, config).values()))
        except ValueError as error:
            raise InputError(f"method {method.label!r}, layer {layer}: {error}") from None
    return count


def at_rank(method: MethodSpec, rank: int) -> MethodSpec:
    """Return the method at another rank: scale alpha / rank, and the two pairs' proportion, stay as they are.

    A label that tells the recipe's rank or alpha, ``lora(rank=4)``, then tells the new one as well.
    """
    settings = dict(method.settings)
    times = rank / settings["rank"]
    settings |= {"rank": rank, "alpha": settings["alpha"] * times}
    if settings.get("rank_minus") is not None:
        settings["rank_minus"] = max(1, round(settings["rank_minus"] * times))
    stale = rank != method.settings["rank"] and ("rank=" in method.label or "alpha=" in method.label)
    label = f"{method.label} at rank {rank}" if stale else method.label
    return method.model_copy(update={"settings": settings, "label": label})


def nearest(method: MethodSpec, layers: Layers, wanted: int) -> list[Fit]:
    """Return the ranks whose parameters are around ``wanted``, the nearest first: one below, one above, or just one.

    Of two that are equally near the larger comes first, so that nothing which D2-LoRA is compared with is short of any:
    DoRA on square layers is such a case.
    """
    sizes = Counter(layers.values())

    def fit(rank: int) -> Fit:
        count = _count(at_rank(method, rank), sizes)
        return Fit(rank, count, (count - wanted) / wanted)

    low, high = 1, _highest_rank(method, min(map(min, sizes)))
    while low < high:  # the smallest rank that has enough, else the highest there is
        middle = (low + high) // 2
        low, high = (low, middle) if fit(middle).count >= wanted else (middle + 1, high)
    found = [fit(rank) for rank in (low - 1, low) if rank]
    return sorted(found, key=lambda one: (abs(one.off), -one.rank))


def _highest_rank(method: MethodSpec, side: int) -> int:
    """Return the highest rank that a layer whose smaller side is ``side`` can use, for the larger of two pairs too."""
    rank = side
    while rank > 1 and int(at_rank(method, rank).settings.get("rank_minus") or 0) > side:
        rank -= 1
    return rank


def _count(method: MethodSpec, sizes: Mapping[tuple[int, int], int]) -> int:
    module = get_method(method.name)
    config = module.Config(**method.settings)
    return sum(times * sum(map(prod, module.shapes(*size, config).values())) for size, times in sizes.items())


def _each_once(given: Sequence[MethodSpec], methods: Sequence[MethodSpec]) -> list[MethodSpec]:
    """Return the methods without controls that have become another; InputError where two of the recipe's have."""
    found: dict[str, tuple[MethodSpec, MethodSpec]] = {}
    for before, method in zip(given, methods, strict=True):
        first, same = found.setdefault(method.decides(), (before, method))
        if same is not method and method.control is None:
            told = " and ".join(f"{one.label!r} (rank {one.settings['rank']})" for one in (first, before))
            raise InputError(
                f"budget: parameters makes {told} the same runs, both of rank {method.settings['rank']} and alpha "
                f"{method.settings['alpha']:g}: leave one out, or take budget: none."
            )
    return [method for _, method in found.values()]


def _refusal(
    methods: Sequence[MethodSpec],
    reference: MethodSpec,
    fits: Mapping[str, Sequence[Fit]],
    layers: Mapping[str, Layers],
) -> str:
    """Return every method's count, the nearest ranks with theirs, the tolerance, and what would help."""
    wanted = fits[reference.label][0].count
    bad = [label for label, found in fits.items() if abs(found[0].off) > TOLERANCE]
    lines = [
        f"budget: parameters: {', '.join(map(repr, bad))} cannot come within {100 * TOLERANCE:g} % of the {wanted:,} "
        f"parameters that {reference.label!r} trains at rank {reference.settings['rank']}:"
    ]
    for method in methods:
        found = fits[method.label]
        at = ", ".join(f"{one.count:,} at rank {one.rank} ({100 * one.off:+.1f} %)" for one in found)
        lines.append(f"  {method.label}: {at}" + (" <- too far" if method.label in bad else ""))
    better = _better_rank(methods, reference, layers)
    raised = f"give {reference.label!r} rank {better}, where all come within it, " if better else ""
    lines.append(f"Remedy: {raised}leave out {', '.join(map(repr, bad))}, or take budget: none.")
    return "\n".join(lines)


def _better_rank(methods: Sequence[MethodSpec], reference: MethodSpec, layers: Mapping[str, Layers]) -> int | None:
    """Return the smallest higher rank of the reference at which all methods come near enough, if there is one."""
    rank = int(reference.settings["rank"])
    side = min(min(size) for size in layers[reference.targets].values())
    highest = min(HIGHEST * rank, _highest_rank(reference, side))
    others = [method for method in methods if method != reference]
    for tried in range(rank + 1, highest + 1):
        wanted = _count(at_rank(reference, tried), Counter(layers[reference.targets].values()))
        if all(abs(nearest(method, layers[method.targets], wanted)[0].off) <= TOLERANCE for method in others):
            return tried
    return None
