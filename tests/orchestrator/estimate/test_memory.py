"""The memory of a worker, part by part, by hand: what each setting adds, shares or bounds."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from orchestrator.estimate.memory import BUCKET_BYTES, PROCESS_BYTES, SCORED_TOKENS, Bytes, LaneLoad, MemoryModel
from orchestrator.train.score import TOKEN_BUDGET
from tests.orchestrator.estimate.test_estimate import SHAPE, planned, sweep

LANE = LaneLoad(trained=1000, length=20, full=40, answer=2, choices=2, scored=10)
ZERO = {"engine": {"kind": "zero", "stage": 2}}


def of(lanes: int = 1, lane: LaneLoad = LANE, **changes: Any) -> Bytes:
    """Return the memory of a pack of equal lanes under the sweep with a few values changed."""
    return MemoryModel(sweep(**changes), SHAPE).of([lane] * lanes)


def stage(number: int, workers: int = 2) -> Bytes:
    optim = {"lr": 1e-3, "micro_batch": 2, "global_batch": 16}
    return of(engine={"kind": "zero", "stage": number}, cluster={"workers": workers, "pack": 4}, optim=optim)


def test_the_total_is_the_sum_of_the_parts_with_the_larger_of_training_and_scoring() -> None:
    need = asdict(of(3))
    total, most = need.pop("total"), need.pop("total_at_most")
    scoring, training = need.pop("scoring"), need.pop("activations") + need.pop("logits")
    assert total == sum(need.values()) + max(scoring, training)
    assert total <= most


@pytest.mark.parametrize(
    ("dtype", "gpus", "size"), [("auto", 0, 4), ("auto", 1, 2), ("float32", 1, 4), ("bfloat16", 0, 2)]
)
def test_the_base_is_shared_by_lanes_and_counts_by_its_type(dtype: str, gpus: int, size: int) -> None:
    changes = {"model": {"dtype": dtype}, "cluster": {"kind": "local", "gpus_per_worker": gpus}}
    assert of(1, **changes).base == of(4, **changes).base == size * SHAPE.parameters()


def test_a_lane_of_the_plain_engine_has_sixteen_bytes_per_trained_number_beside_buffers() -> None:
    one, four = of(1), of(4)
    assert (one.adapters, one.gradients, one.optimizer) == (4000, 4000, 8000)
    assert (four.adapters, four.gradients, four.optimizer) == (16000, 16000, 32000)


def test_zero_shares_moments_from_stage_1_on_and_the_base_at_stage_3() -> None:
    none, first, second, third = map(stage, range(4))
    assert (none.optimizer, first.optimizer, second.optimizer, third.optimizer) == (8000, 4000, 4000, 4000)
    assert first.base == second.base == none.base == 2 * third.base
    assert third.base == none.base // 2
    assert stage(2, workers=4).optimizer == 2000
    assert stage(3, workers=4).base == none.base // 4
    assert second.adapters == 4000 + 2000  # the part that a worker steps is there twice


def test_a_gpu_holds_deepspeeds_whole_buffer_and_no_copies_for_checkpoints() -> None:
    gpu = {"cluster": {"kind": "local", "gpus_per_worker": 1}}
    assert of(**ZERO, **gpu).buffers - of(**gpu).buffers == BUCKET_BYTES
    assert of(**gpu).buffers < of().buffers
    assert of(engine={"checkpoint_seconds": 0}).buffers == of(**gpu).buffers


def test_on_a_cpu_lanes_go_in_passes_and_on_a_gpu_together() -> None:
    long = replace(LANE, length=2000, full=2000, answer=2)
    cpu, gpu = (
        [
            of(lanes, long, cluster={"kind": "local", "gpus_per_worker": gpus}, model={"dtype": "float32"})
            for lanes in (1, 4)
        ]
        for gpus in (0, 1)
    )
    assert cpu[1].activations == cpu[0].activations  # one lane alone is more than a pass holds
    assert gpu[1].activations == 4 * gpu[0].activations
    bound = of(4, LANE, engine={"pass_tokens": 160})
    assert bound.activations == of(1, LANE).activations  # eight rows of twenty tokens


def test_checkpointing_keeps_one_block_and_the_inputs_of_the_others() -> None:
    plain, again = of(), of(engine={"gradient_checkpointing": True})
    assert again.activations < plain.activations
    assert again.logits == plain.logits


def test_logits_are_float32_in_every_type_and_grow_with_answers() -> None:
    half = of(model={"dtype": "bfloat16"})
    assert half.logits == of().logits
    assert of(1, replace(LANE, answer=4)).logits == 2 * of().logits


def test_scoring_is_bounded_by_its_batch() -> None:
    many = replace(LANE, scored=100_000)
    assert of(1, LANE).scoring < of(1, many).scoring
    assert of(1, many).scoring == of(1, replace(many, scored=200_000)).scoring
    assert SCORED_TOKENS == TOKEN_BUDGET


def test_a_plan_takes_the_pack_that_needs_the_most() -> None:
    memory = planned().memory
    assert memory is not None
    trained = [method.trainable_parameters or 0 for method in planned().methods]
    assert memory.base == 4 * SHAPE.parameters()
    assert memory.adapters == 3 * 4 * max(trained)  # the largest pack is of the wide method alone
    assert memory.process == PROCESS_BYTES
