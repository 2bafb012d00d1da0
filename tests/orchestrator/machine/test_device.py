"""Where a worker computes: as the recipe says, told in a line, refused where there is no such device."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.cluster.local import LocalCluster
from orchestrator.errors import InputError
from orchestrator.machine.device import describe_device, device_of
from orchestrator.train.engine import group
from tests.helpers.sweeps import run

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(("gpus", "there", "device"), [(0, False, CPU), (0, True, CPU), (1, True, CUDA)])
def test_the_recipe_decides_and_not_the_machine(
    gpus: int, there: bool, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert device_of(gpus) == device == LocalCluster(gpus).device


def test_a_worker_with_a_part_of_a_gpu_takes_no_more_than_this_part_of_its_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shares: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    assert device_of(0.25) == device_of(1) == CUDA
    assert shares == [0.25]


def test_a_gpu_that_is_not_there_is_refused_before_anything_is_prepared_and_the_remedy_is_taken(recipe: Path) -> None:
    words = ("tracking.uri=none", "champions=false", "tasks=[tiny_recall]", "methods=[lora]", "seeds=[0]")
    with pytest.raises(InputError, match=r"cluster\.gpus_per_worker=1, but torch sees no GPU here.*gpus_per_worker=0"):
        run(recipe, *words, "cluster.gpus_per_worker=1")
    assert not (recipe.parent / "sweeps" / ".cache").exists()
    code, told, _ = run(recipe, *words, "cluster.gpus_per_worker=0")
    assert code == 0
    assert "training on the CPU in float32\n" in told


def test_a_gpu_that_is_left_idle_is_told_with_the_setting_that_uses_it() -> None:
    told = describe_device(0, "float32", there=True)
    assert told.startswith("training on the CPU in float32; this machine's GPU is left idle: cluster.gpus_per_worker=1")
    assert describe_device(0, "float32", there=False) == "training on the CPU in float32"
    assert describe_device(1, "bfloat16", there=True) == "training on this machine's GPU in bfloat16"


@pytest.mark.parametrize(("device", "backend"), [(CPU, "gloo"), (CUDA, "nccl")])
def test_a_process_alone_gets_a_group_that_suits_its_device(
    device: torch.device, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Any, ...]] = []
    monkeypatch.setattr(group, "os", type("Os", (), {"environ": dict(os.environ)}))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: bool(made))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda name, **_: made.append(name))
    group.join_group(device)
    group.join_group(device)  # the second pack finds it
    assert made == [backend]
