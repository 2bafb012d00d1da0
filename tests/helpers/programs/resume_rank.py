"""One rank of a trainer that trains a pack, and ends without a word after some steps, or is told to stop there.

usage: resume_rank.py RANK WORLD JOB END     (started by `tests.helpers.ranks.run_ranks`)

JOB is a pickled `PackJob`. END is "dies 3" (every rank ends after the third step), "stops 3" (the last rank alone is
told to stop after the third step) or "never". Stage 3 scatters every parameter of the base, also small ones.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

os.environ["DS_ACCELERATOR"] = "cpu"

import torch

from orchestrator.control import Unsupervised
from orchestrator.errors import StoppedError
from orchestrator.worker.pack_trainer import PackTrainer
from tests.helpers.programs.zero_worker import scatter_small_parameters
from tests.helpers.ranks import join_ranks


class Ends(Unsupervised):
    """The control of a rank that ends, or is told to stop, after ``at`` steps."""

    def __init__(self, how: str, at: int, last: bool) -> None:
        self.how, self.at, self.last, self.steps = how, at, last, 0

    def progress(self, steps: Mapping[str, int]) -> None:
        self.steps += 1
        if self.how == "dies" and self.steps == self.at:
            os._exit(0)

    @property
    def stopping(self) -> bool:
        return self.how == "stops" and self.last and self.steps >= self.at


def main(rank: int, world: int, job: Path, end: str) -> None:
    join_ranks(rank, world)
    scatter_small_parameters()
    how, _, at = end.partition(" ")
    with suppress(StoppedError):
        PackTrainer()(pickle.loads(job.read_bytes()), torch.device("cpu"), Ends(how, int(at or 0), rank == world - 1))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
