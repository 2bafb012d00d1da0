"""One rank of a ZeRO test: train the lanes of test_loop and write losses, adapters, scores and ends to OUT.

usage: zero_worker.py RANK WORLD STAGE OUT POISON [RUNS]     (started by `tests.helpers.ranks.run_ranks`)

POISON is the lane whose adapter becomes NaN, or -1. RUNS is the folder
of runs in which lanes are judged at rungs. CHOSEN in the environment names some of the lanes. With BLOCKS in the
environment all lanes share passes, with one block per length; else each lane has a pass of its own. Stage 3 scatters
every parameter of the base, also small ones. OWN in the environment are keys of DeepSpeed's own configuration.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

os.environ["DS_ACCELERATOR"] = "cpu"

import torch

import d2lora
from orchestrator.model.shortcuts import Shortcuts, take
from orchestrator.model.token_batch import Blocks, TokenBatch
from orchestrator.recipe.deepspeed import DeepSpeedSpec
from orchestrator.search.halving import Contest, Halving
from orchestrator.train import blocks
from orchestrator.train.engine import zero
from orchestrator.train.engine.zero import ZeroEngine
from orchestrator.train.lanes import LanePlan, LaneStep
from orchestrator.train.loop import train_lanes
from orchestrator.train.score import mean_loss, score_items
from orchestrator.worker.diagnostics import Diagnoses
from orchestrator.worker.judging import Judge
from tests.helpers.models.tiny_llama import TARGETS, questions, tiny_llama
from tests.helpers.ranks import join_ranks
from tests.orchestrator.train.test_loop import DATA, OPTIM
from tests.orchestrator.train.test_loop import LANES as EVERYONE

LANES = [EVERYONE[int(lane)] for lane in os.environ.get("CHOSEN", "0 1 2 3 4").split()]
KEYS = [f"run{index}" for index in range(len(LANES))]
BOUND: dict[bool, Literal["auto"] | int] = {True: "auto", False: 1}  # of a pass: all lanes in one, or each in its own
CONTEST = Contest(Halving(2, 2), dict.fromkeys(KEYS, tuple(KEYS)))  # half of the lanes go on after two steps


def _model(in_blocks: bool) -> torch.nn.Module:
    model = tiny_llama()
    if in_blocks:
        blocks.COST = 0
        take(model, Shortcuts(blocks=True))
    return model


def scatter_small_parameters() -> None:
    """Let stage 3 scatter all of a small base: by default DeepSpeed keeps some 10^9 numbers whole."""
    usual = zero.deepspeed_config

    def config(stage: int, *others: Any) -> dict[str, Any]:
        made = usual(stage, *others)
        if stage == 3:
            names = "param_persistence_threshold", "max_live_parameters", "max_reuse_distance", "prefetch_bucket_size"
            made["zero_optimization"] |= {f"stage3_{name}": 0 for name in names}
        return made

    zero.deepspeed_config = config


def _watched_engine(stage: int, in_blocks: bool) -> tuple[ZeroEngine, list[Blocks]]:
    """Return the engine of this rank, and a list that gets the blocks of each token batch that it computes."""
    model = _model(in_blocks)
    scatter_small_parameters()
    d2lora.attach_lanes(model, [lane for lane, _, _ in LANES], TARGETS)
    own = DeepSpeedSpec.model_validate_json(os.environ["OWN"]) if "OWN" in os.environ else None
    engine, seen = ZeroEngine(model, len(LANES), OPTIM, torch.device("cpu"), stage, own), list[Blocks]()
    logits = engine.logits

    def watched(token_batch: TokenBatch) -> torch.Tensor:
        seen.append(token_batch.blocks)
        return logits(token_batch)

    engine.logits = watched
    return engine, seen


def _train(engine: ZeroEngine, tokens: Literal["auto"] | int, poison: int, runs: str) -> dict[str, Any]:
    """Train the lanes; return their losses, and which of them finished, diverged and were stopped."""
    losses: dict[int, list[float]] = {}
    ends: dict[str, list[int]] = {"finished": [], "diverged": [], "stopped": []}
    plans = [LanePlan.of(task, DATA[task], seed=lane.seed, peak=peak, optim=OPTIM) for lane, task, peak in LANES]
    # only the first rank may look at the files: another rank would find nothing in its folder
    judge = Judge(engine, Path(runs) / ("" if engine.rank == 0 else "nowhere"), CONTEST, KEYS)
    if runs:
        plans = [replace(plan, rungs=judge.steps(plan.steps)) for plan in plans]

    def on_step(done: dict[int, LaneStep]) -> None:
        for index, record in done.items():
            losses.setdefault(index, []).append(record.loss)
        if poison >= 0 and engine.rank == 0 and len(losses[poison]) == 2:
            with torch.no_grad():  # on one rank only: the others must hear of it
                next(iter(d2lora.adapter_parameters(engine.model, poison).values())).fill_(float("nan"))

    def on_end(finished: list[int], diverged: list[int]) -> None:
        ends["finished"] += finished
        ends["diverged"] += diverged

    def measured(lanes: list[int]) -> dict[int, float]:
        asked = {lane: questions(7, seed=5) for lane in lanes}
        return {lane: -mean_loss(scored) for lane, scored in score_items(engine, asked, len(LANES)).items()}

    def on_rung(step: int, reached: list[int]) -> list[int]:
        beaten = [lane for lane, verdict in judge.at(step, reached, measured).items() if not verdict.goes_on]
        ends["stopped"] += beaten
        return beaten

    train_lanes(engine, plans, OPTIM, on_step=on_step, on_end=on_end, on_rung=on_rung, tokens=tokens)
    return {"losses": losses, **ends}


def _of_engine(engine: Any) -> dict[str, Any]:
    """Return what DeepSpeed itself says of the configuration that it works with."""
    zero_config = engine._config.zero_config
    return {
        "stage": int(engine.zero_optimization_stage()),
        "reduce": getattr(engine.optimizer, "reduce_bucket_size", None),
        "allgather": zero_config.allgather_bucket_size,
        "optimizer_on_cpu": bool(getattr(engine.optimizer, "cpu_offload", False)),
        "param": str(zero_config.offload_param.device) if zero_config.offload_param else None,
        "breakdown": engine.wall_clock_breakdown(),
    }


def main(rank: int, world: int, stage: int, out: Path, poison: int, runs: str = "") -> None:
    join_ranks(rank, world)
    in_blocks = "BLOCKS" in os.environ
    engine, seen = _watched_engine(stage, in_blocks)
    outcome = _train(engine, BOUND[in_blocks], poison, runs)
    outcome["blocks"] = seen.copy()
    # on one rank alone, as in a pack: nothing in there may wait for the others
    items = {index: DATA[LANES[index][1]] for index in outcome["finished"]}
    outcome["diagnoses"] = Diagnoses(engine).of(items) if rank == 0 else {}
    states = {index: d2lora.adapter_state(engine.model, index) for index in range(len(LANES))}
    outcome["states"] = {
        index: {name: value.tolist() for name, value in state.items()} for index, state in states.items()
    }
    asked = {0: questions(7, seed=5), 1: questions(3, seed=6)} if len(LANES) > 1 else {0: questions(7, seed=5)}
    scored = score_items(engine, asked, len(LANES))
    outcome["scores"] = {lane: [item.scores for item in items] for lane, items in scored.items()}
    base = [weight for name, weight in engine.model.named_parameters() if name.endswith("_proj.weight")]
    outcome["scattered"] = [weight.numel() == 0 for weight in base]
    outcome["engines"] = [_of_engine(one) for one in (engine._engine, getattr(engine, "_base", None)) if one]
    out.write_text(json.dumps(outcome))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    rank, world, stage, out, poison, *runs = sys.argv[1:]
    main(int(rank), int(world), int(stage), Path(out), int(poison), *runs)
