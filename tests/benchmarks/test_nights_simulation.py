"""The simulated nights: a sure loss is told at once, damaged nights are in no baseline, a quiet year tells nobody."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.simulations.nights import NEVER, NIGHTLY, RIGHT, Canary, Case, nights_until_told, quiet

SMALL = Case(1, 2, 300, 0.7, NIGHTLY)


def test_a_loss_in_points_is_the_loss_of_the_simulated_accuracies() -> None:
    canary = Canary(Case(1, 1, 20_000, 0.5, NEVER), np.random.default_rng(0))
    means = [np.mean([run.accuracy for run in canary.fresh(40, loss)]) for loss in (0.0, 2.0)]
    assert means[0] == pytest.approx(RIGHT, abs=0.012)
    assert means[0] - means[1] == pytest.approx(0.02, abs=0.005)


def test_bytes_stay_until_they_move() -> None:
    canary = Canary(SMALL, np.random.default_rng(0))
    one, same, other = canary.night(0, 0.0, True), canary.night(1, 0.0, False), canary.night(2, 0.0, True)
    assert one.digests == same.digests != other.digests
    assert one.fresh != same.fresh


def test_a_sure_loss_is_told_on_its_first_night() -> None:
    told, statuses = nights_until_told(SMALL, 12.0, before=8, trials=3)
    assert (told, statuses) == ([1] * 3, ["worse"] * 3)


@pytest.mark.slow
def test_a_year_without_a_change_tells_nobody() -> None:
    one = quiet(Case(2, 2, 500, 0.7, NIGHTLY), years=1)
    assert (one.nights, one.told, one.damaged_in_baseline) == (365, 0, 0)
    assert one.damaged > 0
