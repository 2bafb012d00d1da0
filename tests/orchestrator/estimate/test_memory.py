"""The memory of a worker, part by part: what each setting adds, shares or bounds, and what backward truly keeps."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

import d2lora
from orchestrator.estimate.memory import (
    BESIDE,
    BUCKET_BYTES,
    GAPS,
    HELD_BYTES,
    PROCESS_BYTES,
    SCORED_TOKENS,
    Bytes,
    LaneLoad,
    MemoryModel,
    kept_numbers,
)
from orchestrator.estimate.model_shapes import ModelShape
from orchestrator.recipe.sections import MethodSpec
from orchestrator.recipe.targets import targets_of
from orchestrator.train.score import TOKEN_BUDGET
from tests.orchestrator.estimate.test_estimate import SHAPE, planned, sweep

LANE = LaneLoad(trained=1000, kept=2000, length=20, full=40, answer=2, choices=2, scored=10)
ZERO = {"engine": {"kind": "zero", "stage": 2}}
GPU = {"cluster": {"kind": "local", "gpus_per_worker": 1}}


def of(lanes: int = 1, lane: LaneLoad = LANE, **changes: Any) -> Bytes:
    """Return the memory of a pack of equal lanes under the sweep with a few values changed."""
    return MemoryModel(sweep(**changes), SHAPE).of([lane] * lanes)


def stage(number: int, workers: int = 2) -> Bytes:
    optim = {"lr": 1e-3, "micro_batch": 2, "global_batch": 16}
    return of(engine={"kind": "zero", "stage": number}, cluster={"workers": workers, "pack": 4}, optim=optim)


@pytest.mark.parametrize("changes", [{}, GPU])
def test_the_total_is_the_sum_of_the_parts_with_the_larger_of_training_and_scoring(changes: dict[str, Any]) -> None:
    need = asdict(of(3, **changes))
    total, most = need.pop("total"), need.pop("total_at_most")
    scoring, training = need.pop("scoring"), need.pop("activations") + need.pop("logits")
    assert total == sum(need.values()) + max(scoring, training)
    assert total <= most


TYPES = [("auto", 0, 4), ("auto", 1, 2), ("float32", 1, 4), ("bfloat16", 0, 2)]


@pytest.mark.parametrize(("dtype", "gpus", "size"), TYPES)
def test_the_base_is_shared_by_lanes_and_counts_by_its_type(dtype: str, gpus: int, size: int) -> None:
    changes = {"model": {"dtype": dtype}, "cluster": {"kind": "local", "gpus_per_worker": gpus}}
    assert of(1, **changes).base == of(4, **changes).base == size * SHAPE.parameters()


def test_a_lane_of_the_plain_engine_has_sixteen_bytes_per_trained_number_beside_buffers() -> None:
    one, four = of(1), of(4)
    assert (one.adapters, one.gradients, one.optimizer, one.buffers) == (4000, 4000, 8000, 1000 * HELD_BYTES)
    assert (four.adapters, four.gradients, four.optimizer) == (16000, 16000, 32000)


def test_zero_shares_moments_from_stage_1_on_and_the_base_at_stage_3() -> None:
    none, first, second, third = map(stage, range(4))
    assert (none.optimizer, first.optimizer, second.optimizer, third.optimizer) == (8000, 4000, 4000, 4000)
    assert first.base == second.base == none.base == 2 * third.base
    assert stage(2, workers=4).optimizer == 2000
    assert stage(3, workers=4).base == none.base // 4
    assert second.adapters == 4000 + 2000  # the part that a worker steps is there twice
    assert third.buffers - second.buffers == none.base  # a base of fewer than 10^9 numbers is gathered whole


def test_a_gpu_holds_deepspeeds_whole_bucket_and_a_cpu_what_is_written_of_it() -> None:
    assert of(**ZERO, **GPU).buffers - of(**GPU).buffers == BUCKET_BYTES
    assert of(**ZERO).buffers - of().buffers == 4000
    assert (of(**GPU).kernels, of().process) == (0, PROCESS_BYTES)


def test_on_a_cpu_lanes_go_in_passes_and_on_a_gpu_together() -> None:
    long = replace(LANE, length=2000, full=2000)
    where = [{"cluster": {"kind": "local", "gpus_per_worker": gpus}, "model": {"dtype": "float32"}} for gpus in (0, 1)]
    cpu, gpu = ([of(lanes, long, **changes) for lanes in (1, 4)] for changes in where)
    assert cpu[1].activations == cpu[0].activations  # one lane alone is more than a pass holds
    assert gpu[1].activations == 4 * gpu[0].activations
    bound = of(4, LANE, engine={"pass_tokens": 160})
    assert bound.activations == of(1, LANE).activations  # eight rows of twenty tokens


def test_checkpointing_keeps_two_blocks_and_the_inputs_of_all() -> None:
    deep = replace(SHAPE, layers=8)
    plain, again = (MemoryModel(sweep(engine={"gradient_checkpointing": on}), deep).of([LANE]) for on in (False, True))
    tokens = 8 * 20
    dropped = LANE.kept - (deep.layers * deep.hidden + 2 * LANE.kept // deep.layers)
    assert plain.activations - again.activations == pytest.approx(GAPS * 4 * tokens * dropped, abs=1)
    assert again.logits == plain.logits


def test_logits_are_float32_in_every_type_and_grow_with_answers() -> None:
    half = of(model={"dtype": "bfloat16"})
    assert half.logits == of().logits
    assert of(1, replace(LANE, answer=4)).logits == pytest.approx(2 * of().logits, abs=1)


def test_scoring_is_bounded_by_its_batch() -> None:
    many = replace(LANE, scored=100_000)
    assert of(1, LANE).scoring < of(1, many).scoring
    assert of(1, many).scoring == of(1, replace(many, scored=200_000)).scoring
    assert SCORED_TOKENS == TOKEN_BUDGET


def test_scoring_comes_on_top_where_its_tensors_fit_into_no_gap_on_a_cpu() -> None:
    wide = replace(LANE, scored=60)  # in one lane a sixth of a batch, in eight lanes a whole one

    def beside(lanes: int, **changes: Any) -> float:
        need = of(lanes, wide, engine={"pass_tokens": 160}, **changes)
        less, more = sorted((need.activations + need.logits, need.scoring))
        parts = asdict(need)
        fixed = sum(
            parts[name] for name in ("base", "adapters", "gradients", "optimizer", "buffers", "kernels", "process")
        )
        return (need.total - fixed - more) / less

    assert beside(1) == 0
    assert beside(8) == pytest.approx(BESIDE, abs=1e-3)
    assert beside(8, **GPU) == 0


def test_a_plan_takes_the_pack_that_needs_the_most() -> None:
    memory = planned().memory
    assert memory is not None
    trained = [method.trainable_parameters or 0 for method in planned().methods]
    assert memory.base == 4 * SHAPE.parameters()
    assert memory.adapters == 3 * 4 * max(trained)  # the largest pack is of the wide method alone


METHODS = [
    ("d2lora", {}),
    ("d2lora", {"norm_axis": "in"}),
    ("d2lora", {"projection": "off"}),
    ("dora", {}),
    ("lora", {}),
]


@pytest.mark.parametrize(("name", "settings"), METHODS, ids=str)
@pytest.mark.parametrize("targets", ["attention", "attention+mlp", "q_proj,v_proj", "mlp"])
@pytest.mark.parametrize("kv_heads", [2, 8])
def test_what_a_block_keeps_for_backward_is_what_autograd_saves(
    name: str, settings: dict[str, Any], targets: str, kv_heads: int
) -> None:
    """Within 6 %: statistics of norms and attention, a few numbers per token and head, are not counted."""
    shape = ModelShape(128, 352, 2, 8, kv_heads, 16, 50, tied=True)
    method = MethodSpec.of(name, d2lora.get_method(name).Config(rank=4, **settings), label="x", targets=targets)
    tokens = 2 * 48
    assert saved_bytes(shape, method, tokens) / 4 / tokens == pytest.approx(kept_numbers(shape, method), rel=0.06)


def saved_bytes(shape: ModelShape, method: MethodSpec, tokens: int) -> int:
    """Return the bytes of the tensors of the blocks that a forward of two rows keeps, each memory counted once."""
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=shape.vocab,
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            tie_word_embeddings=True,
        )
    )
    d2lora.attach(model, method.name, method.config, targets_of(method.targets), seeds=[0])
    seen: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tokens in tensor.shape or tokens // 2 in tensor.shape:  # not the factors, which do not grow with tokens
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    hidden = torch.randn(2, tokens // 2, shape.hidden, requires_grad=True)
    places = model.model.rotary_emb(hidden, torch.arange(tokens // 2)[None])
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.model.layers[0](hidden, position_embeddings=places)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    return shape.layers * sum(storage.nbytes() for pointer, storage in seen.items() if pointer not in own)
