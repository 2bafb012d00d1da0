"""Deterministic kernels: set before CUDA starts, on within a pack alone, and no change on a CPU."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from orchestrator.cluster.session.ray_session import init_arguments
from orchestrator.files import read_json
from orchestrator.machine.deterministic import CUBLAS, deterministic, environment
from orchestrator.worker.pack_trainer import PackInTraining
from tests.helpers.sweeps import rows_of, run


def test_it_is_on_within_and_as_before_after_it_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "none")
    with suppress(KeyError), deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        raise KeyError
    assert not torch.are_deterministic_algorithms_enabled()
    with deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()


def test_workers_have_the_variable_from_their_start_only_where_it_is_asked_for() -> None:
    variables = init_arguments(2, environment(True))["runtime_env"]["env_vars"]
    assert variables.items() >= CUBLAS.items()
    assert not init_arguments(2, environment(False))["runtime_env"]["env_vars"].keys() & CUBLAS.keys()


def test_a_pack_trains_under_it_if_the_recipe_says_so_and_the_sweep_tells(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    train = PackInTraining.train

    def watched(self: PackInTraining) -> None:
        seen.append(torch.are_deterministic_algorithms_enabled())
        train(self)

    monkeypatch.setattr(PackInTraining, "train", watched)
    words = ("tasks=[tiny_recall]", "champions=false", "tracking.uri=none")
    _, _, free = run(recipe, *words)
    assert not any(seen)
    seen.clear()
    code, told, held = run(recipe, *words, f"storage={tmp_path}/held", "engine.deterministic=true")
    assert (code, set(seen)) == (0, {True}), told
    assert read_json(held / "sweep.json")["engine"]["deterministic"] is True
    assert read_json(free / "sweep.json")["engine"]["deterministic"] is False
    pairs = zip(rows_of(free), rows_of(held), strict=True)
    assert all(one["run_key"] == other["run_key"] for one, other in pairs)
    assert [row["train_loss"] for row in rows_of(free)] == [row["train_loss"] for row in rows_of(held)]
