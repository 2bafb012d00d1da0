"""A process group of one."""

from __future__ import annotations

import os

import pytest
import torch

from orchestrator.train.engine.group import join_group


def test_a_group_of_one_takes_no_rank_from_another_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "3")
    join_group(torch.device("cpu"))
    try:
        assert torch.distributed.get_world_size() == 1
        assert [os.environ[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")] == ["0", "0", "1"]
    finally:
        torch.distributed.destroy_process_group()
