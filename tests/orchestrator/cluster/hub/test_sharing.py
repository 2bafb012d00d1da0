"""How many trainers a sweep keeps while another sweep waits on the same cluster."""

from __future__ import annotations

import pytest

from orchestrator.cluster.hub.sharing import (
    KEEP_SECONDS,
    SLICE_SECONDS,
    UNUSED_SECONDS,
    Sharing,
    Standing,
    share_of,
    standing_of,
)
from orchestrator.recipe.cluster_section import ClusterSpec


def sweep(trainers: int, waits: bool = False, size: float = 1, kind: str = "CPU") -> Standing:
    return Standing(kind, trainers * size, size, waits)


@pytest.mark.parametrize(
    ("own", "others", "share"),
    [
        (sweep(4), [], None),
        (sweep(4), [sweep(2)], None),  # nobody waits
        (sweep(4), [sweep(0, True)], 2),
        (sweep(3), [sweep(0, True)], 2),
        (sweep(2), [sweep(1, True)], 2),  # an odd trainer stays where it is
        (sweep(6), [sweep(0, True), sweep(0, True)], 2),
        (sweep(4), [sweep(0, True, kind="GPU")], None),  # it waits for something else
        (sweep(4), [sweep(0, True), sweep(0)], 2),  # a sweep that wants nothing has no share
        (sweep(1, size=4), [sweep(4, True)], 1),
        (sweep(1), [sweep(0, True)], 1),
        (sweep(0, True), [sweep(1, True)], 1),  # it may ask for one
    ],
)
def test_sweeps_have_equal_shares_of_what_they_hold_together(
    own: Standing, others: list[Standing], share: int | None
) -> None:
    assert share_of(own, others, 0) == share


def test_sweeps_take_turns_where_there_is_room_for_one_trainer_alone() -> None:
    assert share_of(sweep(1), [sweep(0, True)], SLICE_SECONDS - 1) == 1
    assert share_of(sweep(1), [sweep(0, True)], SLICE_SECONDS) == 0
    assert share_of(sweep(2), [sweep(0, True)], SLICE_SECONDS) == 1


def test_room_that_was_given_up_and_that_nobody_takes_is_used_again_for_a_while() -> None:
    """The other sweep wants larger nodes than there are."""
    own, others, sharing = sweep(4), [sweep(0, True, size=64)], Sharing(0)
    assert sharing.share(own, others, 0, 10) == 2
    own = sweep(2)
    shares = [sharing.share(own, others, 2, 20 + second) for second in range(0, int(UNUSED_SECONDS) + 5, 5)]
    assert shares == [1] * 12 + [None]
    assert sharing.share(sweep(4), others, 0, 20 + UNUSED_SECONDS + KEEP_SECONDS - 1) is None
    assert sharing.share(sweep(4), others, 0, 20 + UNUSED_SECONDS + KEEP_SECONDS) == 2


def test_room_that_another_sweep_is_about_to_take_is_left_to_it() -> None:
    sharing = Sharing(0)
    for second in range(0, 600, 5):
        free = 1.0 if second % 50 == 0 else 0.0
        assert sharing.share(sweep(2), [sweep(1, True)], free, second) == 2


def test_a_sweep_with_the_only_trainer_gives_it_up_when_its_time_is_over() -> None:
    sharing = Sharing(0)
    waiting, working = [sweep(0, True)], [sweep(1)]
    assert [sharing.share(sweep(1), waiting, 0, second) for second in (0, 299, 300)] == [1, 1, 0]
    assert sharing.share(sweep(0, True), working, 0, 400) is None
    assert [sharing.share(sweep(1), waiting, 0, second) for second in (500, 699)] == [1, 1]


def test_a_sweep_on_gpus_counts_gpus() -> None:
    spec = ClusterSpec(workers=2, gpus_per_worker=1, cpus_per_worker=8)
    assert standing_of(spec, 3, False) == Standing("GPU", 6, 2, False)
    assert standing_of(ClusterSpec(workers=2, cpus_per_worker=8), 3, True) == Standing("CPU", 48, 16, True)
