"""One rank of a ZeRO test: trains the lanes of test_loop and writes what came out.

usage: zero_worker.py RANK WORLD STAGE INIT_FILE OUT POISON [RUNS]     (RUNS: where lanes are judged at rungs)

CHOSEN in the environment names some of the lanes. With BLOCKS in it all lanes share passes, in as many blocks as they
have lengths; else each has its own. Stage 3 scatters every parameter of the base, however small.
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
from orchestrator.model.token_batch import TokenBatch
from orchestrator.search.halving import Contest, Halving
from orchestrator.train import blocks
from orchestrator.train.engine import zero
from orchestrator.train.engine.zero import ZeroEngine
from orchestrator.train.lanes import LanePlan, LaneStep
from orchestrator.train.loop import train_lanes
from orchestrator.train.score import mean_loss, score_items
from orchestrator.worker.diagnostics import Diagnoses
from orchestrator.worker.judging import Judge
from tests.helpers.tiny_llama import TARGETS, questions, tiny_llama
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


def _scatter_small_parameters() -> None:
    """Let stage 3 scatter all of a small base: by default DeepSpeed keeps some 10^9 numbers whole."""
    usual = zero.deepspeed_config

    def config(stage: int, *others: Any) -> dict[str, Any]:
        made = usual(stage, *others)
        if stage == 3:
            names = "param_persistence_threshold", "max_live_parameters", "max_reuse_distance", "prefetch_bucket_size"
            made["zero_optimization"] |= {f"stage3_{name}": 0 for name in names}
        return made

    zero.deepspeed_config = config


def main(rank: int, world: int, stage: int, init: str, out: Path, poison: int, runs: str = "") -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world))
    torch.distributed.init_process_group("gloo", init_method=f"file://{init}", rank=rank, world_size=world)
    in_blocks, seen = "BLOCKS" in os.environ, []
    model = _model(in_blocks)
    _scatter_small_parameters()
    d2lora.attach_lanes(model, [lane for lane, _, _ in LANES], TARGETS)
    engine = ZeroEngine(model, len(LANES), OPTIM, torch.device("cpu"), stage)
    logits = engine.logits

    def watched(token_batch: TokenBatch) -> torch.Tensor:
        seen.append(token_batch.blocks)
        return logits(token_batch)

    engine.logits = watched
    plans = [LanePlan.of(task, DATA[task], seed=lane.seed, peak=peak, optim=OPTIM) for lane, task, peak in LANES]
    losses: dict[int, list[float]] = {}
    ends: dict[str, list[int]] = {"finished": [], "diverged": [], "stopped": []}
    # only the first rank may look at the files: another would find nothing in its folder
    judge = Judge(engine, Path(runs) / ("" if rank == 0 else "nowhere"), CONTEST, KEYS)
    if runs:
        plans = [replace(plan, rungs=judge.steps(plan.steps)) for plan in plans]

    def on_step(done: dict[int, LaneStep]) -> None:
        for index, one in done.items():
            losses.setdefault(index, []).append(one.loss)
        if poison >= 0 and rank == 0 and len(losses[poison]) == 2:
            with torch.no_grad():  # on one rank only: the others must hear of it
                next(iter(d2lora.adapter_parameters(model, poison).values())).fill_(float("nan"))

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

    tokens = BOUND[in_blocks]
    train_lanes(engine, plans, OPTIM, on_step=on_step, on_end=on_end, on_rung=on_rung, tokens=tokens)
    ends["blocks"] = seen.copy()
    # on one rank alone, as in a pack: nothing in there may wait for the others
    items = {index: DATA[LANES[index][1]] for index in ends["finished"]}
    diagnoses = Diagnoses(engine).of(items) if rank == 0 else {}
    states = {}
    for index in range(len(LANES)):
        states[index] = {name: value.tolist() for name, value in d2lora.adapter_state(model, index).items()}
    asked = {0: questions(7, seed=5), 1: questions(3, seed=6)} if len(LANES) > 1 else {0: questions(7, seed=5)}
    scored = score_items(engine, asked, len(LANES))
    base = [one for name, one in model.named_parameters() if name.endswith("_proj.weight")]
    ends["scattered"] = [one.numel() == 0 for one in base]
    scores = {lane: [one.scores for one in each] for lane, each in scored.items()}
    out.write_text(json.dumps({"losses": losses, "states": states, "scores": scores, "diagnoses": diagnoses, **ends}))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    rank, world, stage, init, out, poison, *runs = sys.argv[1:]
    main(int(rank), int(world), int(stage), init, Path(out), int(poison), *runs)
