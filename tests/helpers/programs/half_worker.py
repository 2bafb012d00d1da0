"""One rank of the test of engines over a bfloat16 base: train the same eight lanes with each engine.

usage: half_worker.py RANK WORLD OUT      writes {engine: one flat adapter per lane} as a torch file
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["DS_ACCELERATOR"] = "cpu"

import torch

import d2lora
from orchestrator.recipe.sections import OptimSpec
from orchestrator.train.engine.engine import Engine
from orchestrator.train.engine.plain import PlainEngine
from orchestrator.train.engine.zero import ZeroEngine
from orchestrator.train.lanes import LanePlan
from orchestrator.train.loop import train_lanes
from tests.helpers.models.tiny_llama import TARGETS, questions, tiny_llama
from tests.helpers.ranks import join_ranks

STEPS = 50
OPTIM = OptimSpec(lr=5e-3, epochs=STEPS / 4, micro_batch=4, global_batch=8)
# rows of one length: on a CPU, each new shape of a bfloat16 product takes some time once
DATA = [item for item in questions(900, seed=1) if len(item.choices[item.answer]) == 9 and item.starts[0] == 7][:32]
SETTINGS = [("d2lora", {}), ("d2lora", {"norm_axis": "in"}), ("lora", {}), ("dora", {})]
LANES = [
    d2lora.Lane(method, d2lora.get_method(method).Config(rank=3, **settings), seed)
    for seed in (0, 1)
    for method, settings in SETTINGS
]


ENGINES = os.environ.get("ENGINES", "plain 2 3").split()


def trained(kind: str, chosen: list[int], data_seed: int | None = None) -> list[torch.Tensor]:
    """Return the adapters of the chosen lanes after `STEPS` steps, each as one vector."""
    model = tiny_llama().to(torch.bfloat16)
    d2lora.attach_lanes(model, [LANES[lane] for lane in chosen], TARGETS)
    device = torch.device("cpu")
    if kind == "plain":
        engine: Engine = PlainEngine(model, len(chosen), OPTIM, device)
    else:
        engine = ZeroEngine(model, len(chosen), OPTIM, device, int(kind))
    plans = [
        LanePlan.of("task", DATA, LANES[lane].seed if data_seed is None else data_seed, 5e-3, OPTIM) for lane in chosen
    ]
    assert plans[0].steps == STEPS
    train_lanes(engine, plans, OPTIM, on_step=lambda _: None, on_end=lambda *_: None)
    states = [d2lora.adapter_state(model, index) for index in range(len(chosen))]
    assert {value.dtype for state in states for value in state.values()} == {torch.float32}
    engine.close()
    return [torch.cat([value.flatten() for value in state.values()]) for state in states]


def main(rank: int, world: int, out: Path) -> None:
    join_ranks(rank, world)
    everyone = list(range(len(LANES)))
    adapters = {kind: trained(kind, everyone) for kind in (ENGINES if world == 1 else ENGINES[1:])}
    if world == 1:
        adapters["alone"] = [trained("plain", [lane])[0] for lane in everyone[: len(SETTINGS)]]
        adapters["another seed"] = [trained("plain", [lane], data_seed=100)[0] for lane in everyone[: len(SETTINGS)]]
    torch.save(adapters, out)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    rank, world, out = sys.argv[1:]
    main(int(rank), int(world), Path(out))
