"""The split of variance against published tables and an analysis of variance in rational arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest

from orchestrator.summary.schema import Sources
from orchestrator.summary.variance_sources import variance_sources

# Shrout & Fleiss (1979), Intraclass correlations, table 2: four judges rate six targets.
RATINGS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def row(accuracy: float, **more: Any) -> dict[str, Any]:
    key = "-".join(str(value) for value in more.values())
    return {"run_key": key, "task": "t", "method": "m", "lr": 1e-3, "status": "committed", "accuracy": accuracy, **more}


def answered(marks: Sequence[int]) -> list[dict[str, Any]]:
    return [{"index": i, "answer": 1, "predicted": int(right)} for i, right in enumerate(marks)]


def by_seeds(marks: Mapping[tuple[int, ...], Sequence[int]], axes: Sequence[str]) -> Sources:
    rows = [row(sum(of) / len(of), **dict(zip(axes, seeds, strict=True))) for seeds, of in marks.items()]
    sources = variance_sources(
        rows, {one["run_key"]: answered(of) for one, of in zip(rows, marks.values(), strict=True)}
    )
    assert sources is not None
    return sources


def estimates(sources: Sources | None) -> dict[str, float]:
    assert sources is not None
    return {one["source"]: one["estimate"] for one in sources["sources"]}


def anova(values: Mapping[tuple[int, ...], Fraction], sizes: Sequence[int]) -> dict[tuple[int, ...], Fraction]:
    """Return the variance components of a full random grid by its mean squares (Searle, Linear Models, chapter 9)."""
    factors = range(len(sizes))
    effects = [effect for size in range(1, len(sizes) + 1) for effect in combinations(factors, size)]

    def mean(fixed: Mapping[int, int]) -> Fraction:
        chosen = [value for cell, value in values.items() if all(cell[at] == level for at, level in fixed.items())]
        return sum(chosen, Fraction(0)) / len(chosen)

    squares = {}
    for effect in effects:
        total = Fraction(0)
        for levels in product(*(range(sizes[at]) for at in effect)):
            place = dict(zip(effect, levels, strict=True))
            inner = [some for size in range(len(effect) + 1) for some in combinations(effect, size)]
            total += (
                sum((-1) ** (len(effect) - len(some)) * mean({at: place[at] for at in some}) for some in inner) ** 2
            )
        repeats, freedom = 1, 1
        for at in factors:
            repeats, freedom = (repeats, freedom * (sizes[at] - 1)) if at in effect else (repeats * sizes[at], freedom)
        squares[effect] = total * repeats / freedom
    components = {}
    for effect in effects:
        outer = [some for some in effects if set(effect) <= set(some)]
        repeats = 1
        for at in factors:
            repeats *= 1 if at in effect else sizes[at]
        components[effect] = sum((-1) ** (len(some) - len(effect)) * squares[some] for some in outer) / repeats
    return components


def test_two_axes_give_the_components_of_shrout_and_fleiss() -> None:
    rows = [row(float(v), init_seed=i, data_seed=j) for i, of in enumerate(RATINGS) for j, v in enumerate(of)]
    variances = estimates(variance_sources(rows, {}))
    between, judges, error = Fraction(56 + Fraction(5, 24), 5), Fraction(97 + Fraction(11, 24), 3), Fraction(367, 360)
    assert [round(float(square), 2) for square in (between, judges, error)] == [11.24, 32.49, 1.02]  # their table 3
    assert variances["init_seed x data_seed"] == pytest.approx(float(error), abs=1e-9)
    assert variances["init_seed"] == pytest.approx(float((between - error) / 4), abs=1e-9)
    assert variances["data_seed"] == pytest.approx(float((judges - error) / 6), abs=1e-9)
    assert round(variances["init_seed"] / sum(variances.values()), 2) == 0.29  # their ICC(2, 1)
    assert (
        round(variances["init_seed"] / (variances["init_seed"] + variances["init_seed x data_seed"]), 2) == 0.71
    )  # ICC(3, 1)


def test_one_axis_with_answers_is_the_two_way_analysis_of_variance() -> None:
    generator = np.random.default_rng(0)
    marks = {(seed,): (generator.random(12) < 0.3 + 0.1 * seed).astype(int).tolist() for seed in range(4)}
    exact = anova({(*seeds, i): Fraction(v) for seeds, of in marks.items() for i, v in enumerate(of)}, [4, 12])
    variances = estimates(by_seeds(marks, ["seed"]))
    assert variances["seed"] == pytest.approx(float(exact[0,]), abs=1e-12)
    assert variances["evaluation"] == pytest.approx(float(exact[1,] + exact[0, 1]) / 12, abs=1e-12)


def test_two_axes_with_answers_are_the_three_way_analysis_of_variance() -> None:
    generator = np.random.default_rng(1)
    marks = {
        (i, d): (generator.random(9) < 0.2 + 0.15 * i + 0.1 * d).astype(int).tolist()
        for i, d in product(range(3), range(4))
    }
    exact = anova({(*seeds, i): Fraction(v) for seeds, of in marks.items() for i, v in enumerate(of)}, [3, 4, 9])
    variances = estimates(by_seeds(marks, ["init_seed", "data_seed"]))
    assert variances["init_seed"] == pytest.approx(float(exact[0,]), abs=1e-12)
    assert variances["data_seed"] == pytest.approx(float(exact[1,]), abs=1e-12)
    assert variances["init_seed x data_seed"] == pytest.approx(float(exact[0, 1]), abs=1e-12)
    assert variances["evaluation"] == pytest.approx(
        float(exact[2,] + exact[0, 2] + exact[1, 2] + exact[0, 1, 2]) / 9, abs=1e-12
    )


def test_one_axis_without_answers_is_the_sample_variance() -> None:
    accuracies = [0.70, 0.72, 0.69, 0.75]
    sources = variance_sources([row(value, seed=seed) for seed, value in enumerate(accuracies)], {})
    assert estimates(sources) == {"seed": pytest.approx(float(np.var(accuracies, ddof=1)), abs=1e-12)}
    assert sources is not None
    assert "evaluation sampling is not told from the seeds" in " ".join(sources["notes"])


def test_the_sources_of_simulated_runs_are_recovered_without_bias() -> None:
    generator = np.random.default_rng(2)
    sds, totals = {"init_seed": 0.03, "data_seed": 0.02}, {"init_seed": 0.0, "data_seed": 0.0, "evaluation": 0.0}
    for _ in range(300):
        init, data = generator.normal(0, sds["init_seed"], 4), generator.normal(0, sds["data_seed"], 4)
        hard = generator.normal(0, 0.2, 60)
        marks = {
            (i, d): (generator.random(60) < 0.6 + init[i] + data[d] + hard).astype(int).tolist()
            for i, d in product(range(4), range(4))
        }
        variances = estimates(by_seeds(marks, ["init_seed", "data_seed"]))
        totals = {name: value + variances[name] / 300 for name, value in totals.items()}
    assert totals["init_seed"] == pytest.approx(0.0009, abs=0.00015)  # over three standard errors of 300 estimates
    assert totals["data_seed"] == pytest.approx(0.0004, abs=0.00015)
    assert totals["evaluation"] == pytest.approx(0.6 * 0.4 / 60, rel=0.05)


def test_a_negative_estimate_counts_as_zero_and_is_said() -> None:
    marks = {(seed,): [(item + seed) % 2 for item in range(6)] for seed in range(4)}  # equal accuracies, other items
    sources = by_seeds(marks, ["seed"])
    seeds = sources["sources"][0]
    assert seeds["estimate"] < 0
    assert (seeds["variance"], seeds["sd"], seeds["truncated"]) == (0.0, 0.0, True)
    assert "The estimate of seed is -0.0667, below 0, and counts as 0" in " ".join(sources["notes"])


def test_identical_runs_have_no_variance_between_seeds_and_nothing_is_truncated() -> None:
    sources = by_seeds({(seed,): [1, 1, 0, 1] for seed in range(3)}, ["seed"])
    assert estimates(sources) == {"seed": 0.0, "evaluation": pytest.approx(0.75 * 0.25 / 3, abs=1e-15)}
    assert not any(one["truncated"] for one in sources["sources"])


def test_two_arms_that_share_a_run_are_enough_for_all_three_components() -> None:
    rows = [row(0.6 + 0.01 * i, init_seed=i, data_seed=0) for i in range(3)]
    rows += [row(0.6 + 0.02 * d, init_seed=0, data_seed=d) for d in (1, 2)]
    variances = estimates(variance_sources(rows, {}))
    assert set(variances) == {"init_seed", "data_seed", "init_seed x data_seed"}
    assert variances["init_seed"] + variances["init_seed x data_seed"] == pytest.approx(0.0001, abs=1e-12)
    assert variances["data_seed"] + variances["init_seed x data_seed"] == pytest.approx(0.0004, abs=1e-12)


def test_axes_that_move_together_are_one_joint_source() -> None:
    rows = [row(value, init_seed=seed, data_seed=10 + seed) for seed, value in enumerate([0.70, 0.72, 0.69])]
    sources = variance_sources(rows, {})
    assert estimates(sources) == {"init_seed and data_seed": pytest.approx(float(np.var([0.70, 0.72, 0.69], ddof=1)))}
    assert sources is not None
    assert "No two runs differ in init_seed alone, or in data_seed alone" in " ".join(sources["notes"])


def test_an_axis_with_one_level_is_left_out_and_named() -> None:
    sources = variance_sources([row(0.7 + seed / 100, init_seed=seed, data_seed=0) for seed in range(3)], {})
    assert set(estimates(sources)) == {"init_seed"}
    assert sources is not None
    assert sources["levels"] == {"init_seed": 3, "data_seed": 1}
    assert "data_seed has one level" in sources["notes"][0]


def test_a_single_run_shows_what_its_items_could_change_and_no_more() -> None:
    sources = by_seeds({(0,): [1, 1, 0, 0]}, ["seed"])
    assert estimates(sources) == {"evaluation": pytest.approx(0.25 / 3)}


def test_lost_runs_are_no_evidence() -> None:
    lost = {**row(0.0, seed=1), "status": "diverged", "accuracy": None}
    assert variance_sources([lost], {}) is None
    sources = variance_sources([row(0.7, seed=0), row(0.8, seed=2), lost], {})
    assert sources is not None
    assert sources["runs"] == 2


def test_rows_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Rows of 2 settings \(t / m / 0.001, t / m / 0.01\)"):
        variance_sources([row(0.7, seed=0), {**row(0.7, seed=1), "lr": 1e-2}], {})
    with pytest.raises(ValueError, match="Runs 1 and 1 have the same seeds"):
        variance_sources([row(0.7, seed=1), row(0.8, seed=1)], {})
    rows = [row(0.5, seed=0), row(0.5, seed=1)]
    with pytest.raises(ValueError, match=r"Runs 0 and 1 answered different items \(2 and 4\)"):
        variance_sources(rows, {"0": answered([0, 1]), "1": answered([0, 1, 0, 1])})
