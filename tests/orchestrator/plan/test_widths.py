"""How wide a pack should be: a table of measured steps in, a width out."""

from __future__ import annotations

import pytest

from orchestrator.plan.widths import (
    Point,
    assumed_width,
    best_width,
    extended,
    makespan,
    step_seconds,
    whole_bytes,
    worth_doubling,
    worth_measuring,
)

SHORT = [Point(1, 1.0, 100), Point(2, 1.3, 110), Point(4, 2.1, 130), Point(8, 4.0, 170)]  # a lane costs half
LONG = [Point(1, 1.0, 100), Point(2, 2.02, 200), Point(4, 4.2, 400)]  # nothing is saved


def width(points: list[Point], runs: int = 16, trainers: int = 1, start: float = 0.0, steps: int = 10) -> int:
    return best_width(points, runs=runs, trainers=trainers, start_seconds=start, steps=steps)


def test_short_rows_are_packed_and_long_ones_are_not() -> None:
    assert width(SHORT) == 8
    assert width(LONG) == 1


def test_a_wider_pack_must_save_more_than_three_percent() -> None:
    almost = [Point(1, 1.0, 0), Point(2, 1.95, 0)]
    assert width(almost) == 1
    assert width([Point(1, 1.0, 0), Point(2, 1.9, 0)]) == 2


def test_packs_are_not_so_wide_that_trainers_stand_idle() -> None:
    assert makespan(SHORT, 8, runs=8, trainers=4, fixed=0) == makespan(SHORT, 2, runs=8, trainers=4, fixed=0) == 1.3
    assert width(SHORT, runs=8, trainers=4) == 2
    assert width(SHORT, runs=1) == 1


def test_what_a_pack_costs_to_start_makes_packs_wider() -> None:
    assert width(LONG, start=0.0) == 1
    assert width(LONG, start=10.0, steps=10) == 4


def test_steps_between_measured_ones_lie_on_a_line_and_none_are_guessed_beyond() -> None:
    assert step_seconds(SHORT, 6) == pytest.approx((2.1 + 4.0) / 2)
    assert step_seconds(SHORT, 2) == 1.3
    with pytest.raises(ValueError, match="16 lanes were not measured: the widest are 8"):
        step_seconds(SHORT, 16)


@pytest.mark.parametrize(
    ("points", "most_lanes", "most_bytes", "wanted"),
    [
        (SHORT[:1], 8, 1000, True),
        (SHORT[:1], 1, 1000, False),  # there are no more runs
        (SHORT[:3], 8, 1000, True),
        (SHORT[:3], 8, 169, False),  # eight lanes would need 170 bytes
        (SHORT[:3], 8, 170, True),
        (LONG[:2], 8, 1000, False),  # the second lane saved nothing
    ],
)
def test_a_width_is_measured_only_if_it_can_pay_and_fits(
    points: list[Point], most_lanes: int, most_bytes: int, wanted: bool
) -> None:
    assert worth_doubling(points, most_lanes=most_lanes, most_bytes=most_bytes, idle_bytes=80) == wanted


def test_what_was_not_measured_lies_on_the_line_of_the_last_two_points_up_to_a_full_pass() -> None:
    measured = [Point(1, 1.0, 100), Point(2, 1.5, 110)]
    wider = extended(measured, fill=4, most_lanes=16, most_bytes=1000)
    assert [(point.lanes, point.seconds, point.bytes) for point in wider[2:]] == [
        (4, 2.5, 130),
        (8, 5.0, 170),  # two passes of four
        (16, 10.0, 250),
    ]
    assert extended(measured, fill=3, most_lanes=4, most_bytes=1000)[2].seconds == pytest.approx(2.0 + 1.0)
    assert len(extended(measured, fill=4, most_lanes=16, most_bytes=169)) == 3  # eight lanes would need 170 bytes


def test_nothing_is_expected_of_wider_packs_where_measured_ones_saved_nothing() -> None:
    assert extended(LONG[:2], fill=8, most_lanes=16, most_bytes=1000) == LONG[:2]
    assert extended(SHORT[:1], fill=8, most_lanes=16, most_bytes=1000) == SHORT[:1]


def test_a_wider_step_that_took_less_time_is_noise_and_carries_no_further() -> None:
    noisy = [Point(1, 1.0, 100), Point(2, 0.4, 110)]
    assert extended(noisy, fill=8, most_lanes=16, most_bytes=1000) == noisy
    assert width(noisy) == 2


def test_a_short_sweep_is_not_worth_a_measurement() -> None:
    assert not worth_measuring(4 * 16)
    assert worth_measuring(18 * 90)


def test_the_plan_assumes_packs_for_short_rows_only() -> None:
    assert (assumed_width(64), assumed_width(512)) == (8, 1)


def test_what_more_layers_need_is_on_the_line_and_what_does_not_grow_counts_once() -> None:
    assert whole_bytes(120, 140, (2, 4), 32) == 100 + 32 * 10
    assert whole_bytes(100, 100, (2, 4), 32) == 100
    assert whole_bytes(110, 100, (2, 4), 32) == 100  # noise: more layers never need less
