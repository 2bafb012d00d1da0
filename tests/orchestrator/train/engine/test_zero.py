"""DeepSpeed ZeRO, two processes on CPUs with gloo: every stage agrees with the plain engine, lane by lane."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import d2lora
from orchestrator.train.engine.plain import PlainEngine
from orchestrator.train.lanes import LanePlan
from orchestrator.train.loop import train_lanes
from orchestrator.train.score import score_items
from orchestrator.worker.diagnostics import SCATTERED, Diagnoses
from tests.helpers import ranks
from tests.helpers.models.tiny_llama import TARGETS, questions, tiny_llama
from tests.orchestrator.train.test_loop import DATA, LANES, OPTIM, Story

pytestmark = pytest.mark.slow


def run_ranks(
    tmp_path: Path, stage: int, poison: int = -1, world: int = 2, runs: Path | None = None
) -> list[dict[str, Any]]:
    outs = [tmp_path / f"out{rank}.json" for rank in range(world)]
    words = [(rank, world, stage, out, poison, *([runs] if runs else [])) for rank, out in enumerate(outs)]
    ranks.run_ranks("tests.helpers.programs.zero_worker", words)
    return [json.loads(out.read_text()) for out in outs]


@pytest.fixture(scope="module")
def plain() -> tuple[dict[int, dict[str, torch.Tensor]], Story, dict[int, list[tuple[float, ...]]]]:
    model = tiny_llama()
    d2lora.attach_lanes(model, [lane for lane, _, _ in LANES], TARGETS)
    engine = PlainEngine(model, len(LANES), OPTIM, torch.device("cpu"))
    plans = [LanePlan.of(task, DATA[task], seed=lane.seed, peak=peak, optim=OPTIM) for lane, task, peak in LANES]
    story = Story()
    train_lanes(engine, plans, OPTIM, on_step=story.on_step, on_end=story.on_end)
    scored = score_items(engine, {0: questions(7, seed=5), 1: questions(3, seed=6)}, len(LANES))
    states = {index: d2lora.adapter_state(model, index) for index in range(len(LANES))}
    return states, story, {lane: [one.scores for one in each] for lane, each in scored.items()}


def diagnoses_of(states: dict[int, dict[str, torch.Tensor]]) -> dict[int, dict[str, Any]]:
    """Return what one process says of adapters."""
    model = tiny_llama()
    d2lora.attach_lanes(model, [lane for lane, _, _ in LANES], TARGETS)
    for index, state in states.items():
        d2lora.load_adapter_state(model, state, index)
    engine = PlainEngine(model, len(LANES), OPTIM, torch.device("cpu"))
    return Diagnoses(engine).of({index: DATA[task] for index, (_, task, _) in enumerate(LANES)})


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_two_ranks_agree_with_one_process_at_every_stage(tmp_path: Path, plain, stage: int) -> None:
    """Losses to 1e-5; adapters come back whole, so ZeRO-3's scattered tensors cannot be saved empty."""
    states, story, scores = plain
    outs = run_ranks(tmp_path, stage)
    assert [bool(out["diagnoses"]) for out in outs] == [True, False]  # one rank looks at what it commits
    for index, of_one_process in diagnoses_of(states).items():
        of_ranks = outs[0]["diagnoses"][str(index)]
        if stage == 3:
            assert of_ranks == {"skipped": SCATTERED}
        else:  # of adapters that differ in their last digits
            assert of_ranks.keys() == of_one_process.keys()
            of_ranks["seconds"] = of_one_process["seconds"]
            assert of_ranks == pytest.approx(of_one_process, rel=1e-3, abs=1e-4)
    for out in outs:
        assert sorted(out["finished"]) == list(range(len(LANES)))
        for index in range(len(LANES)):
            wanted = [one.loss for one in story.steps[index]]
            assert out["losses"][str(index)] == pytest.approx(wanted, abs=1e-5)
            for name, value in states[index].items():
                assert value.numel() > 0
                torch.testing.assert_close(torch.tensor(out["states"][str(index)][name]), value, rtol=1e-4, atol=1e-5)
        assert set(out["scattered"]) == {stage == 3}  # also after scoring, which reads all layers
        for lane, each in scores.items():
            for of_ranks, of_one_process in zip(out["scores"][str(lane)], each, strict=True):
                assert of_ranks == pytest.approx(of_one_process, abs=1e-4)


@pytest.mark.parametrize("stage", [1, 3])
def test_ranks_agree_with_one_process_where_their_passes_are_in_blocks(
    tmp_path: Path, plain, stage: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, story, _ = plain
    monkeypatch.setenv("BLOCKS", "1")
    outs = run_ranks(tmp_path, stage)
    assert outs[0]["blocks"] != outs[1]["blocks"]  # the ranks' rows differ, and so do their cuts
    for out in outs:
        assert max(map(len, out["blocks"])) >= 3
        for index in range(len(LANES)):
            wanted = [one.loss for one in story.steps[index]]
            assert out["losses"][str(index)] == pytest.approx(wanted, abs=1e-5)
            for name, value in states[index].items():
                torch.testing.assert_close(torch.tensor(out["states"][str(index)][name]), value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stage", [2, 3])
def test_a_rank_for_which_a_short_batch_leaves_no_row_computes_all_the_same(
    tmp_path: Path, plain, stage: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, the lane whose batches end in three rows: no neighbour gives the second rank a pass."""
    states, story, _ = plain
    monkeypatch.setenv("CHOSEN", "1")
    for out in run_ranks(tmp_path, stage):
        assert out["finished"] == [0]
        assert out["losses"]["0"] == pytest.approx([one.loss for one in story.steps[1]], abs=1e-5)
        for name, value in states[1].items():
            torch.testing.assert_close(torch.tensor(out["states"]["0"][name]), value, rtol=1e-4, atol=1e-5)


def test_a_lane_that_is_nan_on_one_rank_leaves_on_all_and_its_neighbours_go_on(tmp_path: Path, plain) -> None:
    states, _, _ = plain
    for out in run_ranks(tmp_path, stage=2, poison=2):
        assert out["diverged"] == [2]
        assert sorted(out["finished"]) == [0, 1, 3, 4]
        for index in out["finished"]:
            for name, value in states[index].items():
                torch.testing.assert_close(torch.tensor(out["states"][str(index)][name]), value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stage", [2, 3])
def test_ranks_agree_on_who_is_stopped_though_one_alone_reads_and_decides(tmp_path: Path, plain, stage: int) -> None:
    states, _, _ = plain
    runs = tmp_path / "runs"
    for index in range(len(LANES)):
        (runs / f"run{index}").mkdir(parents=True)
    first, second = run_ranks(tmp_path, stage, runs=runs)
    assert first["stopped"] == second["stopped"]
    assert len(first["stopped"]) >= 2
    assert sorted([*first["finished"], *first["stopped"]]) == list(range(len(LANES)))
    assert len(list(runs.glob("*/rungs/2.json"))) == len(LANES)
    for out in (first, second):
        assert out["finished"] == first["finished"]
        for index in out["finished"]:
            for name, value in states[index].items():
                torch.testing.assert_close(torch.tensor(out["states"][str(index)][name]), value, rtol=1e-4, atol=1e-5)


OWN = {"reduce_bucket_size": 4321, "allgather_bucket_size": 1234, "offload_optimizer": {"device": "cpu"}}


RARE = pytest.mark.rare


@pytest.mark.parametrize(
    ("stage", "poison"), [pytest.param(1, -1, marks=RARE), (2, 2), pytest.param(3, -1, marks=RARE)]
)
def test_keys_of_ones_own_reach_deepspeed_and_change_no_result(
    tmp_path: Path, plain, stage: int, poison: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also beside a lane that diverges, whose NaN DeepSpeed must not take for its own."""
    states, story, _ = plain
    own: dict[str, Any] = dict(OWN)
    if stage == 3:
        own |= {"offload_param": {"device": "cpu"}, "stage3_prefetch_bucket_size": 77}
    monkeypatch.setenv("OWN", json.dumps({"zero_optimization": own, "memory_breakdown": False}))
    (out,) = run_ranks(tmp_path, stage, poison, world=1)
    lanes, *base = out["engines"]
    assert (lanes["stage"], lanes["reduce"], lanes["allgather"]) == (min(stage, 2), 4321, 1234)
    assert lanes["optimizer_on_cpu"]
    assert [one["param"] for one in base] == ["cpu"] * (stage == 3)
    assert out["diverged"] == [poison] * (poison >= 0)
    for index in out["finished"]:
        assert out["losses"][str(index)] == pytest.approx([one.loss for one in story.steps[index]], abs=1e-5)
        for name, value in states[index].items():
            torch.testing.assert_close(torch.tensor(out["states"][str(index)][name]), value, rtol=1e-4, atol=1e-5)
