"""Change points: energies by hand, the series of Apache Otava's own test, the Nile, and noise."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.statistics.change_points import change_points, energy_gain

NILE = [
    1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020, 960, 1180, 799, 958, 1140,
    1100, 1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840, 874, 694, 940, 833, 701, 916, 692, 1020, 1050, 969,
    831, 726, 456, 824, 702, 1120, 1100, 832, 764, 821, 768, 845, 864, 862, 698, 845, 744, 796, 1040, 759,
    781, 865, 845, 944, 984, 897, 822, 1010, 771, 676, 649, 846, 812, 742, 801, 1040, 860, 874, 848, 890,
    744, 749, 838, 1050, 918, 986, 797, 923, 975, 815, 1020, 906, 901, 1170, 912, 746, 919, 718, 714, 740,
]  # fmt: skip
"""Yearly flow at Aswan, 1871 to 1970 (Cobb 1978); the dam of 1898 is the textbook's change point."""


def test_the_energy_of_two_pairs_by_hand() -> None:
    """0, 0 | 1, 1: twice the mean distance across is 2, within 0; times 2 * 2 / 4."""
    assert energy_gain(np.array([0.0, 0, 1, 1])).tolist() == [-np.inf, -np.inf, 2.0, -np.inf]


def test_the_energy_is_that_of_the_definition() -> None:
    values = np.random.default_rng(0).normal(size=11)
    gains = energy_gain(values)
    for k in range(2, 10):
        left, right = values[:k], values[k:]
        across = np.abs(left[:, None] - right).mean()
        within = [np.abs(side[:, None] - side)[np.triu_indices(len(side), 1)].mean() for side in (left, right)]
        assert gains[k] == pytest.approx(k * (11 - k) / 11 * (2 * across - sum(within)))


@pytest.mark.parametrize(
    ("values", "index"),
    [
        ([1.02, 0.95, 0.99, 1.00, 1.12, 0.90, 0.50, 0.51, 0.48, 0.48, 0.55], 6),
        ([2.02, 2.03, 2.01, 2.04, 1.82, 1.85, 1.79, 1.81, 1.80, 1.76, 1.78], 4),
    ],
)
def test_the_two_series_of_apache_otavas_own_test(values: list[float], index: int) -> None:
    points = change_points(values)
    assert [point.at for point in points] == [index]
    assert points[0].p <= 0.001


def test_the_nile_changed_in_1899() -> None:
    assert [1871 + point.at for point in change_points([float(flow) for flow in NILE])] == [1899]
    assert int(energy_gain(np.array(NILE, dtype=float)).argmax()) == 28


def test_two_changes_further_apart_than_a_window_are_both_there() -> None:
    values = np.random.default_rng(2).normal(0, 1, 180)
    values[60:120] += 4
    assert [point.at for point in change_points(values.tolist())] == pytest.approx([60, 120], abs=1)


def test_a_change_at_the_edge_of_a_window_is_there_once() -> None:
    for at in (25, 26, 49, 50, 51, 75):
        values = np.random.default_rng(at).normal(0, 1, 110)
        values[at:] += 4
        assert [point.at for point in change_points(values.tolist())] == pytest.approx([at], abs=1)


def test_noise_has_few_change_points_and_short_or_flat_series_none() -> None:
    """365 nights of noise in 20 series: the search for the best split makes a mark or two per year, no more."""
    random = np.random.default_rng(3)
    marks = [len(change_points(random.normal(size=365).tolist())) for _ in range(20)]
    assert np.mean(marks) <= 2
    assert change_points([]) == change_points([1.0, 2.0, 3.0]) == change_points([5.0] * 40) == []


def test_a_single_spike_is_no_new_level() -> None:
    values = np.random.default_rng(4).normal(0, 1, 60)
    values[30] += 12
    assert change_points(values.tolist()) == []
