"""How many trainers a sweep keeps while another sweep waits on the same cluster."""

from __future__ import annotations

import pytest

from orchestrator.cluster.hub.sharing import SLICE_SECONDS, Standing, share_of, standing_of
from orchestrator.recipe.sections import ClusterSpec


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


def test_a_sweep_on_gpus_counts_gpus() -> None:
    spec = ClusterSpec(workers=2, gpus_per_worker=1, cpus_per_worker=8)
    assert standing_of(spec, 3, False) == Standing("GPU", 6, 2, False)
    assert standing_of(ClusterSpec(workers=2, cpus_per_worker=8), 3, True) == Standing("CPU", 48, 16, True)
