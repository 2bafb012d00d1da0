"""The frozen base that a trainer keeps in memory from one pack to the next (ADR 5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

import d2lora
from orchestrator.model.loading import DTYPES, enable_checkpointing, load_model
from orchestrator.model.shortcuts import take
from orchestrator.recipe.sections import EngineSpec
from orchestrator.recipe.targets import targets_of
from orchestrator.store.checkpoint import Checkpoint
from orchestrator.train.engine.engine import Engine, Moments
from orchestrator.worker.jobs import PackJob
from orchestrator.worker.lanes import lane_of_run


class WarmBase:
    """At most one base, loaded for the first pack and reused by each later pack with the same base and engine."""

    def __init__(self) -> None:
        self._key: tuple[str, str, EngineSpec] | None = None
        self._model: nn.Module | None = None
        self.untrained: dict[int, dict[str, Tensor]] = {}
        """Of lanes that go on from a checkpoint and score the base: their adapters before the first step."""

    def __reduce__(self) -> tuple[type[WarmBase], tuple[()]]:
        """Pickle this object without its base: each process loads a base of its own."""
        return WarmBase, ()

    @contextmanager
    def with_lanes(
        self, job: PackJob, device: torch.device, checkpoints: Mapping[int, Checkpoint] = MappingProxyType({})
    ) -> Iterator[Engine]:
        """Within: the base on ``device``, with one lane per run of the pack, inside the engine that steps the lanes.

        A lane with a checkpoint has the adapter and the optimizer state of the checkpoint, other lanes are new.
        Afterwards the engine is closed and the lanes are detached, so that the next pack can reuse the base. A pack
        that fails before its engine is built leaves its lanes attached; the next pack detaches them.
        """
        model = self._without_lanes(job)
        take(model, job.shortcuts, device)
        engine = self._engine_with_lanes(model, job, device, checkpoints)
        del checkpoints  # its tensors are in the engine now
        try:
            yield engine
        finally:
            self.untrained = {}
            engine.close()
            d2lora.detach(model)

    def _engine_with_lanes(
        self, model: nn.Module, job: PackJob, device: torch.device, checkpoints: Mapping[int, Checkpoint]
    ) -> Engine:
        """Attach one lane per run to ``model``, build the engine that the recipe names, and restore the checkpoints.

        Adapters are restored before the engine is built, because an engine may move and scatter them.
        """
        runs = job.pack.runs
        d2lora.attach_lanes(model, [lane_of_run(run) for run in runs], targets_of(runs[0].spec.method.targets))
        scoring = {base_lane(job, task) for task in job.pack.base_tasks}
        self.untrained = {lane: d2lora.adapter_state(model, lane) for lane in scoring if lane in checkpoints}
        for lane, checkpoint in checkpoints.items():
            d2lora.load_adapter_state(model, checkpoint.adapter, lane)
        orders = {lane: list(d2lora.adapter_parameters(model, lane)) for lane in checkpoints}
        engine = _engine(model, job, device)
        if checkpoints:
            engine.set_moments(
                {
                    lane: Moments(checkpoint.updates, _flat(checkpoint.first, names), _flat(checkpoint.second, names))
                    for (lane, checkpoint), names in zip(checkpoints.items(), orders.values(), strict=True)
                }
            )
        return engine

    def _without_lanes(self, job: PackJob) -> nn.Module:
        """Return the base of this job, without lanes: the kept base if it fits the job, else a base loaded now."""
        dtype = job.pack.runs[0].spec.model.dtype
        if job.engine.kind == "zero" and job.engine.stage == 3:  # ZeRO-3 scatters the weights, so no whole base is left
            self._key = self._model = None
            return load_model(Path(job.base_path), DTYPES[dtype])
        key = job.base_fingerprint, dtype, job.engine
        if self._model is None or self._key != key:
            self._model = None  # freed before the next base is loaded: one base is in memory at a time
            self._key, self._model = key, load_model(Path(job.base_path), DTYPES[dtype])
        return d2lora.detach(self._model).eval()


def base_lane(job: PackJob, task: str) -> int:
    """Return the lane that scores the untrained base on a task: before its first step it computes the same."""
    return next(lane for lane, run in enumerate(job.pack.runs) if run.spec.task.name == task)


def _flat(tensors: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """Return the tensors with these names one after another, as one vector (P,)."""
    return torch.cat([tensors[name].reshape(-1) for name in names])


def _engine(model: nn.Module, job: PackJob, device: torch.device) -> Engine:
    runs, optim = job.pack.runs, job.optim
    if job.engine.gradient_checkpointing:
        enable_checkpointing(model)
    if job.engine.kind == "plain":
        from orchestrator.train.engine.plain import PlainEngine

        return PlainEngine(model, len(runs), optim, device)
    from orchestrator.train.engine.zero import ZeroEngine

    return ZeroEngine(model, len(runs), optim, device, job.engine.stage, job.engine.deepspeed)
