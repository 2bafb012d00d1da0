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

Our own choice. Ranks are whole, so a method at its nearest rank is off by up to half a step, 1 / (2 * rank): 3 % at
rank 16, 6 % at rank 8. What a gap of 5 % can do: five paired seeds whose differences spread by one point detect 1.7
points, and 5 % more parameters are a fourteenth of a doubling. If accuracy grows with the logarithm of the parameters,
doubling the parameters would have to be worth 24 points before the gap alone could pass for a finding. A tighter
tolerance would refuse DoRA at ranks that are in use, because its magnitudes count as half a rank of a square layer: 5 %
admits DoRA from rank 10 up, 2 % from rank 25. A wider tolerance would call equal what recipes compare: ranks 8 and 9
are 12 % apart.
"""
HIGHEST = 4
"""A remedy is looked for at up to so many times the rank of the reference."""


@dataclass(frozen=True)
class Fit:
    """A rank that a method could take, and the parameters that the method then trains.

    ``off`` is their difference from the reference's parameters, as a share of the reference's; negative for fewer.
    """

    rank: int
    count: int
    off: float


def with_equal_parameters(sweep: SweepSpec, layers_of: Callable[[str], Layers]) -> SweepSpec:
    """Return the sweep with the ranks that ``budget: parameters`` asks for.

    ``layers_of(targets)`` are the layers of the base that targets name. InputError where methods cannot be equalised,
    or become the same. A sweep with ``budget: none`` is returned as it is.
    """
    if sweep.budget == "none":
        return sweep
    layers = {targets: layers_of(targets) for targets in {method.targets for method in sweep.methods}}
    return sweep.model_copy(update={"methods": equalised(sweep.methods, layers)})


def equalised(methods: Sequence[MethodSpec], layers: Mapping[str, Layers]) -> list[MethodSpec]:
    """Return the methods, each at the rank at which it trains about as many parameters as the reference.

    The reference is the first D2-LoRA method, or without one the first method; it stays as it is. ``alpha`` and
    ``rank_minus`` move with the rank, so that the scale alpha / rank stays. Parameters are counted over all tensors
    that a run has, as in its row of results: the tensors of a minus pair without gradient count too. A control that
    becomes equal to a method that the recipe names is left out. InputError with the count of every method where a
    method is further off than `TOLERANCE`.
    """
    reference = next((method for method in methods if method.name == REFERENCE), methods[0])
    wanted = trained_parameters(reference, layers[reference.targets])
    fits = {
        method.label: nearest_ranks(method, layers[method.targets], wanted) for method in methods if method != reference
    }
    fits[reference.label] = [Fit(reference.config.rank, wanted, 0.0)]
    if any(abs(ranks[0].off) > TOLERANCE for ranks in fits.values()):
        raise InputError(_refusal(methods, reference, fits, layers))
    return _each_once(methods, [at_rank(method, fits[method.label][0].rank) for method in methods])


def trained_parameters(method: MethodSpec, layers: Layers) -> int:
    """Return how many parameters a run of the method trains; InputError with the layer that its rank does not fit."""
    shapes = get_method(method.name).shapes
    total = 0
    for layer, (out_features, in_features) in layers.items():
        try:
            total += sum(map(prod, shapes(out_features, in_features, method.config).values()))
        except ValueError as error:
            raise InputError(f"method {method.label!r}, layer {layer}: {error}") from None
    return total


def at_rank(method: MethodSpec, rank: int) -> MethodSpec:
    """Return the method at another rank, with the same scale alpha / rank and the same proportion of the two pairs.

    A label that shows the recipe's rank or alpha, ``lora(rank=4)``, then shows the new rank as well.
    """
    settings = dict(method.settings)
    times = rank / settings["rank"]
    settings |= {"rank": rank, "alpha": settings["alpha"] * times}
    if settings.get("rank_minus") is not None:
        settings["rank_minus"] = max(1, round(settings["rank_minus"] * times))
    stale = rank != method.settings["rank"] and ("rank=" in method.label or "alpha=" in method.label)
    label = f"{method.label} at rank {rank}" if stale else method.label
    return method.model_copy(update={"settings": settings, "label": label})


def nearest_ranks(method: MethodSpec, layers: Layers, wanted: int) -> list[Fit]:
    """Return the ranks with parameters around ``wanted``, the nearest first: one below and one above, or only one.

    Of two ranks that are equally near the larger comes first, so that no method which D2-LoRA is compared with has
    fewer parameters than necessary. DoRA on square layers is such a case.
    """
    sizes = Counter(layers.values())

    def fit(rank: int) -> Fit:
        count = _count(at_rank(method, rank), sizes)
        return Fit(rank, count, (count - wanted) / wanted)

    low, high = 1, _highest_rank(method, min(map(min, sizes)))
    while low < high:  # ends at the smallest rank with enough parameters, or at the highest rank there is
        middle = (low + high) // 2
        low, high = (low, middle) if fit(middle).count >= wanted else (middle + 1, high)
    around = [fit(rank) for rank in (low - 1, low) if rank]
    return sorted(around, key=lambda near: (abs(near.off), -near.rank))


def _highest_rank(method: MethodSpec, side: int) -> int:
    """Return the highest rank that fits a layer whose smaller side is ``side``, with the larger of two pairs too."""
    rank = side
    while rank > 1 and int(at_rank(method, rank).settings.get("rank_minus") or 0) > side:
        rank -= 1
    return rank


def _count(method: MethodSpec, sizes: Mapping[tuple[int, int], int]) -> int:
    """Return the parameters of a method on layers of these sizes; ``sizes`` counts the layers by size."""
    shapes = get_method(method.name).shapes
    return sum(times * sum(map(prod, shapes(*size, method.config).values())) for size, times in sizes.items())


def _each_once(given: Sequence[MethodSpec], methods: Sequence[MethodSpec]) -> list[MethodSpec]:
    """Return the methods without controls that have become another method.

    InputError where two methods that the recipe names have become the same.
    """
    kept: dict[str, tuple[MethodSpec, MethodSpec]] = {}
    for before, method in zip(given, methods, strict=True):
        first, same = kept.setdefault(method.decides(), (before, method))
        if same is not method and method.control is None:
            both = " and ".join(f"{named.label!r} (rank {named.settings['rank']})" for named in (first, before))
            raise InputError(
                f"budget: parameters makes {both} the same runs, both of rank {method.settings['rank']} and alpha "
                f"{method.settings['alpha']:g}: leave one out, or take budget: none."
            )
    return [method for _, method in kept.values()]


def _refusal(
    methods: Sequence[MethodSpec],
    reference: MethodSpec,
    fits: Mapping[str, Sequence[Fit]],
    layers: Mapping[str, Layers],
) -> str:
    """Return every method's count, its nearest ranks with their counts, the tolerance, and a remedy."""
    wanted = fits[reference.label][0].count
    bad = [label for label, ranks in fits.items() if abs(ranks[0].off) > TOLERANCE]
    lines = [
        f"budget: parameters: {', '.join(map(repr, bad))} cannot come within {100 * TOLERANCE:g} % of the {wanted:,} "
        f"parameters that {reference.label!r} trains at rank {reference.settings['rank']}:"
    ]
    for method in methods:
        at = ", ".join(f"{near.count:,} at rank {near.rank} ({100 * near.off:+.1f} %)" for near in fits[method.label])
        lines.append(f"  {method.label}: {at}" + (" <- too far" if method.label in bad else ""))
    better = _better_rank(methods, reference, layers)
    raised = f"give {reference.label!r} rank {better}, where all come within it, " if better else ""
    lines.append(f"Remedy: {raised}leave out {', '.join(map(repr, bad))}, or take budget: none.")
    return "\n".join(lines)


def _better_rank(methods: Sequence[MethodSpec], reference: MethodSpec, layers: Mapping[str, Layers]) -> int | None:
    """Return the smallest higher rank of the reference at which all methods are within `TOLERANCE`, if there is one."""
    rank = reference.config.rank
    side = min(min(size) for size in layers[reference.targets].values())
    highest = min(HIGHEST * rank, _highest_rank(reference, side))
    others = [method for method in methods if method != reference]
    for tried in range(rank + 1, highest + 1):
        wanted = _count(at_rank(reference, tried), Counter(layers[reference.targets].values()))
        if all(abs(nearest_ranks(method, layers[method.targets], wanted)[0].off) <= TOLERANCE for method in others):
            return tried
    return None
