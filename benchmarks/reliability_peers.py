"""What faults do to the usual tools: kills to plain Ray Tune, and damage to plain files of tensors.

    python -m benchmarks.reliability_peers [EXPERIMENTS]     # three Markdown tables; ten to fifteen minutes

Ray Tune: the driver of each experiment (`reliability_arms/tune_job.py`) is killed by SIGKILL, in turn at a drawn
instant and 1.5 s after a trial has ended, and started again with `Tuner.restore`. Then its state files are damaged.
Tensors: a LoRA adapter of 8,192 numbers, damaged 400 times in each way, read by safetensors and by torch.
"""

import io
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from benchmarks.measuring.machine import describe
from benchmarks.reliability_arms.damage import DAMAGES, REFUSED, RENAMED, RIGHT, WRONG, outcomes
from benchmarks.reliability_arms.tune_damage import DAMAGES as STATE_DAMAGES
from benchmarks.reliability_arms.tune_damage import FILES, damaged
from benchmarks.reliability_arms.tune_kills import Card, kill_until_done

COLUMNS = (REFUSED, RIGHT, RENAMED, WRONG)
KILLS, TIMES, SEED, FLIPS = 4, 400, 0, 4


def adapter() -> dict[str, Tensor]:
    """Return a LoRA adapter of rank 8 on the attention of two layers of hidden size 64."""
    draw = torch.Generator().manual_seed(SEED)
    shapes = {"lora_A": (8, 64), "lora_B": (64, 8)}
    return {
        f"base_model.model.model.layers.{layer}.self_attn.{name}.{half}.weight": torch.randn(shape, generator=draw)
        for layer in range(2)
        for name in ("q_proj", "k_proj", "v_proj", "o_proj")
        for half, shape in shapes.items()
    }


def of_torch(content: bytes) -> dict[str, Tensor]:
    """Return the tensors of a file of torch, without pickled code."""
    tensors: dict[str, Tensor] = torch.load(io.BytesIO(content), weights_only=True)
    return tensors


def of_files() -> list[str]:
    """Return the table of damaged files."""
    tensors, saved = adapter(), io.BytesIO()
    torch.save(tensors, saved)
    arms = {
        "safetensors.torch.load": (safetensors.torch.load, safetensors.torch.save(tensors)),
        "torch.load(weights_only=True)": (of_torch, saved.getvalue()),
    }
    lines = [f"| reader | damage | copies | {' | '.join(COLUMNS)} |", "|---" * (3 + len(COLUMNS)) + "|"]
    for name, (load, content) in arms.items():
        for damage, copies in DAMAGES.items():
            counts = outcomes(load, content, copies(content, TIMES, SEED))
            cells = " | ".join(str(counts[outcome]) for outcome in COLUMNS)
            lines.append(f"| `{name}`, {len(content):,} bytes | {damage} | {TIMES} | {cells} |")
    return lines


def of_kills(experiments: int, folder: Path) -> list[str]:
    """Return the table of killed experiments, which are left below ``folder``."""
    card = Card()
    for seed in range(experiments):
        place = folder / f"tune-{seed}"
        place.mkdir()
        kill_until_done(place, KILLS, seed, card)
    return [
        "| kills | trained again after their end | steps done twice | lost | orphans | worst recovery, s |",
        "|---|---|---|---|---|---|",
        f"| {card.kills} | {card.again} of {card.ended} | {card.repeated} | {card.lost} | {card.orphans} "
        f"| {max(card.recoveries, default=0):.1f} |",
    ]


def of_state(place: Path) -> Iterator[str]:
    """Yield the lines of the table of damaged state; ``place`` has an experiment that has ended."""
    yield "| state of an ended experiment | damage | `Tuner.restore` |"
    yield "|---|---|---|"
    for file in FILES:
        for damage in STATE_DAMAGES:
            for seed in range(FLIPS if "flipped" in damage else 1):
                yield f"| {file} | {damage} | {damaged(place, file, damage, seed)} |"


def main(experiments: int) -> None:
    """Measure, and print each table as soon as it is there."""
    _show([*describe(), f"safetensors {version('safetensors')}, {time.strftime('%Y-%m-%d')}, seed {SEED}", ""])
    _show([*of_files(), ""])
    with tempfile.TemporaryDirectory() as folder:
        _show([*of_kills(experiments, Path(folder)), ""])
        _show(of_state(Path(folder) / "tune-0"))


def _show(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)  # noqa: T201 - the tables are the output of this command


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
