"""A machine tells its versions, room and GPUs; a driver or a torch that fails is told as none, and never raises."""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.doctor.facts import SMI, Gather, gather, room_of
from orchestrator.machine.code import code_digest

TWO = "NVIDIA L4, 23034, 22900, 570.1\nNVIDIA L4, 23034, [N/A], 570.1\n"


def answering(smi: str | Exception, torch: str | Exception = "2 12.8 2.27.3\n") -> object:
    def run(words: Sequence[str]) -> str:
        answer = smi if words == SMI else torch
        if isinstance(answer, Exception):
            raise answer
        return answer

    return run


def test_a_machine_without_a_driver_tells_the_rest(tmp_path: Path) -> None:
    facts = Gather((str(tmp_path),))()
    assert facts.versions["code"] == code_digest()
    assert facts.versions["torch"].startswith("2.")
    assert facts.room.disk[str(tmp_path)] > 0
    assert pickle.loads(pickle.dumps(Gather(("/x",)))) == Gather(("/x",))


def test_gpus_are_those_of_the_driver_and_torch_is_asked_in_a_process_of_its_own() -> None:
    facts = gather((), answering(TWO))  # type: ignore[arg-type]
    assert [(gpu.total, gpu.free) for gpu in facts.gpus] == [(23034, 22900), (23034, 0)]
    assert (facts.torch_gpus, facts.cuda, facts.nccl) == (2, "12.8", "2.27.3")


@pytest.mark.parametrize("torch", ["", subprocess.CalledProcessError(1, "python"), OSError("no")])
def test_a_torch_that_fails_sees_no_gpu(torch: str | Exception) -> None:
    assert gather((), answering(TWO, torch)).torch_gpus == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("smi", [OSError("no such file"), subprocess.CalledProcessError(9, SMI), "", "odd\n"])
def test_a_driver_that_fails_is_none(smi: str | Exception) -> None:
    facts = gather((), answering(smi))  # type: ignore[arg-type]
    assert (facts.gpus, facts.torch_gpus) == ((), None)


def test_the_room_of_a_folder_that_is_made_later_is_that_of_the_folder_above(tmp_path: Path) -> None:
    assert room_of([str(tmp_path / "not" / "yet")]).disk[str(tmp_path / "not" / "yet")] > 0
