"""One rank that trains a pack for each number it is given, in this order, in one process.

usage: warm_worker.py RANK WORLD INIT_FILE JOBS_PICKLE NUMBER...
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
from pathlib import Path

os.environ["DS_ACCELERATOR"] = "cpu"

import torch

from orchestrator.model.answer_model import AnswerModel
from orchestrator.worker.pack_trainer import PackTrainer


def main(rank: int, world: int, init: str, jobs: Path, numbers: list[int]) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world))
    torch.distributed.init_process_group("gloo", init_method=f"file://{init}", rank=rank, world_size=world)
    made = pickle.loads(jobs.read_bytes())
    train = pickle.loads(pickle.dumps(PackTrainer()))  # as a Ray worker gets it: once
    for number in numbers:
        train(made[number], torch.device("cpu"))
        gc.collect()
        left = [one for one in gc.get_objects() if isinstance(one, AnswerModel)]
        assert not left, f"pack {number} has left its model behind"
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    rank, world, init, jobs, *numbers = sys.argv[1:]
    main(int(rank), int(world), init, Path(jobs), [int(number) for number in numbers])
