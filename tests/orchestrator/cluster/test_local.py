"""The local cluster: signals let the pack at work save its runs, and what fails alike is tried three times."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from orchestrator.cluster import signals
from orchestrator.cluster.hub.breaker import NOT_TRIED
from orchestrator.cluster.local import LocalCluster
from orchestrator.control import Control, RunEnd
from orchestrator.errors import StoppedError
from orchestrator.plan.packs import Pack
from orchestrator.recipe.sections import EngineSpec
from orchestrator.worker.jobs import PackJob


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Ctrl-C raises, as in a job; SIGTERM is what `jobs.command` makes of it."""
    before = [signal.getsignal(number) for number in signals.SENT]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, raising)
    yield
    for number, handler in zip(signals.SENT, before, strict=True):
        signal.signal(number, handler)


def raising(number: int, frame: Any) -> None:
    raise KeyboardInterrupt(f"signal {number}")


def jobs(*names: str) -> list[PackJob]:
    return [PackJob("folder", "base", "fingerprint", {}, EngineSpec(), Pack(name, (), ())) for name in names]


@pytest.mark.parametrize("sent", signals.SENT)
def test_a_signal_lets_the_pack_save_its_runs_and_then_ends_the_job(sent: signal.Signals) -> None:
    seen: list[str] = []

    def train(job: PackJob, device: torch.device, control: Control) -> None:
        seen.append(job.pack.name)
        assert not control.stopping
        os.kill(os.getpid(), sent)
        assert control.stopping
        seen.append("saved")
        raise StoppedError("told to stop")

    with pytest.raises(KeyboardInterrupt):
        LocalCluster().run_packs(jobs("a", "b"), train)
    assert seen == ["a", "saved"]
    assert signal.getsignal(signal.SIGTERM) is raising
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_ends_the_job_at_once() -> None:
    def train(job: PackJob, device: torch.device, control: Control) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second signal did not raise")

    with pytest.raises(KeyboardInterrupt):
        LocalCluster().run_packs(jobs("a"), train)


def test_a_pack_that_does_not_stop_is_broken_off_after_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "GRACE_SECONDS", 0.05)

    def train(job: PackJob, device: torch.device, control: Control) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        while True:
            signal.sigtimedwait([], 0.01)

    with pytest.raises(KeyboardInterrupt, match="signal 15"):
        LocalCluster().run_packs(jobs("a"), train)


def test_a_pack_that_ends_by_itself_after_a_signal_is_the_last() -> None:
    seen: list[str] = []

    def train(job: PackJob, device: torch.device, control: Control) -> None:
        seen.append(job.pack.name)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        LocalCluster().run_packs(jobs("a", "b"), train)
    assert seen == ["a"]


def test_what_fails_alike_before_its_first_step_is_tried_three_times() -> None:
    tried: list[str] = []

    def train(job: PackJob, device: torch.device, control: Control) -> None:
        tried.append(job.pack.name)
        raise OSError("no mount")

    failures = LocalCluster().run_packs(jobs(*"abcdefgh"), train)
    assert tried == ["a", "b", "c"]
    assert all(failures[name].startswith(NOT_TRIED) for name in "defgh")


def test_a_step_before_the_failure_lets_the_others_be_tried() -> None:
    def train(job: PackJob, device: torch.device, control: Control) -> None:
        control.progress({"key": 1})
        raise OSError("no mount")

    failures = LocalCluster().run_packs(jobs(*"abcde"), train)
    assert not any(error.startswith(NOT_TRIED) for error in failures.values())


def test_steps_and_ends_are_in_the_news_at_once() -> None:
    cluster, end = LocalCluster(), RunEnd("key", "committed", 1, "seal")

    def train(job: PackJob, device: torch.device, control: Control) -> None:
        assert cluster.news.begun
        control.progress({"key": 3})
        control.ended(end)

    assert cluster.run_packs(jobs("a"), train) == {}
    assert (cluster.news.steps, cluster.news.ends) == ({"key": 3}, {"key": end})
