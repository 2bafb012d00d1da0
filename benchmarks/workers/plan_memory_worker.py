"""A worker of `plan_memory`: it trains the pack of PLACE/job.pickle and prints its peak memory above idle, in bytes."""

import os
import pickle
import sys
from pathlib import Path

os.environ["DS_ACCELERATOR"] = "cpu"

import torch

from orchestrator.machine.memory import held_bytes, keep_freed_pages, peak_bytes
from orchestrator.worker.pack_trainer import PackTrainer


def main(place: Path, rank: int, world: int) -> None:
    """Train the pack."""
    device = torch.device("cpu")
    torch.set_num_threads(1)
    job = pickle.loads((place / "job.pickle").read_bytes())  # noqa: S301 - written by plan_memory
    if job.engine.kind == "zero":
        from orchestrator.train.engine import zero

        zero._deepspeed(device)
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world))
        meeting = f"file://{place}/ranks"
        torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    import transformers.models.llama.modeling_llama  # noqa: F401 - a worker's imports are not the pack's memory

    keep_freed_pages()
    idle = held_bytes(device)
    PackTrainer()(job, device)
    sys.stdout.write(f"{peak_bytes(device) - idle}\n")
    sys.stdout.flush()
    os._exit(0)  # nothing is left to do, and destroying the group waits for the other ranks


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
