"""The section ``cluster`` of a recipe: where a sweep trains, on how much of it, and at what price."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from orchestrator.recipe.frozen import Frozen
from orchestrator.recipe.sections import Positive
from orchestrator.recipe.variables import Variables


class ClusterSpec(Frozen):
    """Where a sweep trains: ``workers`` processes per trainer, at most ``pack`` runs per pack, ``retries`` per run.

    ``hang_seconds`` is how long a trainer on Ray may make no optimizer step before it is ended and its pack is put back
    (`cluster.hub.watchdog` has the whole rule). ``wait_seconds`` is how long a sweep on Ray waits for nodes while none
    of its trainers has room. ``resources_per_worker`` are amounts of Ray's custom resources, ``env`` environment
    variables of trainers on Ray. ``gpu`` is the accelerator of a worker by its name in the price table, ``spot``
    whether it is rented as spot, ``prices`` a file with lines over the packaged table, and ``price_per_hour`` the USD
    of an hour of one worker, in place of the table's.
    """

    kind: Literal["ray", "local"] = "ray"
    workers: Positive = 1
    gpus_per_worker: Annotated[int | float, Field(ge=0)] = 0
    cpus_per_worker: Positive = 1
    resources_per_worker: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    max_concurrent: Positive | Literal["auto"] = "auto"
    pack: Positive | Literal["auto"] = "auto"
    retries: Annotated[int, Field(ge=0)] = 1
    hang_seconds: Annotated[float, Field(ge=1)] = 600.0
    wait_seconds: Annotated[float, Field(ge=1)] = 900.0
    env: Variables = {}  # noqa: RUF012 - pydantic copies it
    gpu: str | None = None
    spot: bool = False
    price_per_hour: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    prices: str | None = None

    @field_validator("gpus_per_worker")
    @classmethod
    def _one_gpu_at_most(cls, gpus: int | float) -> int | float:
        if gpus > 1:
            raise ValueError(
                f"{gpus} is too many: a worker is one process on one GPU, so 0 to 1. To train a run on {gpus} GPUs: "
                f"gpus_per_worker: 1 and workers: {gpus}."
            )
        return gpus

    @field_validator("resources_per_worker")
    @classmethod
    def _no_names_of_keys(cls, resources: dict[str, float]) -> dict[str, float]:
        for name, key in (("CPU", "cpus_per_worker"), ("GPU", "gpus_per_worker")):
            if name in resources:
                raise ValueError(f"{name} has a key of its own: {key}.")
        return resources

    @model_validator(mode="after")
    def _whole_gpus_for_several_workers(self) -> Self:
        if self.workers > 1 and 0 < self.gpus_per_worker < 1:
            raise ValueError(
                f"gpus_per_worker: {self.gpus_per_worker} goes with workers: 1 alone, because NCCL connects no two "
                "workers on one GPU. Take gpus_per_worker: 1, or workers: 1."
            )
        return self

    @model_validator(mode="after")
    def _gpu_is_used(self) -> Self:
        if self.gpu is not None and not self.gpus_per_worker:
            raise ValueError(
                f"gpu={self.gpu} is the price of workers on GPUs, and with gpus_per_worker=0 they train on CPUs: give "
                "gpus_per_worker=1, or price_per_hour instead of gpu."
            )
        return self


def workers_per_gpu(cluster: ClusterSpec) -> int:
    """Return how many workers share one GPU; 1 for workers on CPUs."""
    return int(1 / cluster.gpus_per_worker + 1e-4) if cluster.gpus_per_worker else 1  # as Ray counts, in 1/10,000
