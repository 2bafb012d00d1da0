"""Numbers from samples: arms timed in turn, ratios paired by round, bootstrap intervals, targets met or not."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

ITSELF = "itself"  # a target against "itself" limits the measured value, not a ratio
FEWEST_ROUNDS = 3  # fewer rounds do not show their spread, so they get no interval
RESAMPLES = 4000
SEED = 20_240_607


@dataclass(frozen=True)
class Target:
    """A limit for one arm: of its ratio to the arm `against`, or of its own value (`ITSELF`)."""

    limit: float
    direction: Literal["at most", "at least"]
    against: str

    def met(self, value: float) -> bool:
        """Whether the value keeps the limit; nan, for a failed measurement, does not."""
        return value <= self.limit if self.direction == "at most" else value >= self.limit


@dataclass(frozen=True)
class Result:
    """One row of a benchmark: an arm's median, and its ratio to the arm `reference`, with 95 % intervals."""

    bench: str
    case: str
    arm: str
    unit: str
    median: float
    low: float
    high: float
    ratio: float
    ratio_low: float
    ratio_high: float
    reference: str
    rounds: int
    target: str | None
    met: bool | None
    note: str = ""


def interleave(
    arms: Mapping[str, Callable[[], float]], rounds: int, say: Callable[[str], None]
) -> dict[str, list[float]]:
    """Return each arm's values, one per round; the order of the arms rotates, so that no arm is always first."""
    samples: dict[str, list[float]] = {name: [] for name in arms}
    names = list(arms)
    for round_ in range(rounds):
        turn = round_ % len(names)
        for name in names[turn:] + names[:turn]:
            samples[name].append(arms[name]())
        say(f"round {round_ + 1} of {rounds}: " + ", ".join(f"{name} {samples[name][-1]:.4g}" for name in names))
    return samples


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the median; (nan, nan) if there are too few values."""
    if len(values) < FEWEST_ROUNDS or not all(map(math.isfinite, values)):
        return math.nan, math.nan
    import numpy as np
    from scipy.stats import bootstrap

    ends = bootstrap(
        (np.asarray(values),), np.median, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(SEED)
    ).confidence_interval
    return float(ends.low), float(ends.high)


def paired_ratios(arm: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Return per round the arm's value over the reference's value."""
    if len(arm) != len(reference):
        raise ValueError(f"ratios are paired by round: {len(arm)} values against {len(reference)}")
    return [one / other if other else math.nan for one, other in zip(arm, reference, strict=True)]


def compare(
    bench: str,
    case: str,
    samples: Mapping[str, Sequence[float]],
    *,
    reference: str,
    unit: str,
    targets: Mapping[str, Target | Sequence[Target]] | None = None,
    notes: Mapping[str, str] | None = None,
) -> list[Result]:
    """Return a row per arm, compared with the reference, and one more per target against another arm."""
    rows = []
    for arm in samples:
        asked = (targets or {}).get(arm, ())
        limits = [asked] if isinstance(asked, Target) else list(asked)
        against: list[tuple[str, Target | None]] = [(limit.against, limit) for limit in limits]
        if reference not in [name for name, _ in against]:
            against.insert(0, (reference, None))
        note = (notes or {}).get(arm, "")
        rows += [
            _row(bench=bench, case=case, arm=arm, other=other, samples=samples, unit=unit, limit=limit, note=note)
            for other, limit in against
        ]
    return rows


def alone(
    bench: str, case: str, arm: str, values: Sequence[float], *, unit: str, target: Target | None = None, note: str = ""
) -> Result:
    """Return the row of an arm that is compared with no other arm; ``target`` limits its own value."""
    return _row(
        bench=bench, case=case, arm=arm, other=ITSELF, samples={arm: values}, unit=unit, limit=target, note=note
    )


def _row(  # noqa: PLR0913 (the columns of a row)
    *,
    bench: str,
    case: str,
    arm: str,
    other: str,
    samples: Mapping[str, Sequence[float]],
    unit: str,
    limit: Target | None,
    note: str,
) -> Result:
    values = samples[arm]
    ratios = [math.nan] if other == ITSELF else paired_ratios(values, samples[other])
    judged = median(values if other == ITSELF else ratios)
    low, high = interval(values)
    ratio_low, ratio_high = interval(ratios)
    return Result(
        bench=bench,
        case=case,
        arm=arm,
        unit=unit,
        median=median(values),
        low=low,
        high=high,
        ratio=median(ratios),
        ratio_low=ratio_low,
        ratio_high=ratio_high,
        reference=other,
        rounds=len(values),
        target=f"{limit.direction} {limit.limit:g} {unit if other == ITSELF else 'of ' + other}" if limit else None,
        met=limit.met(judged) if limit else None,
        note=note,
    )
