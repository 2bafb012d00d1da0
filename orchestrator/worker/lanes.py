"""A planned run as a lane of a model."""

from __future__ import annotations

from d2lora import Lane
from orchestrator.plan.runs import PlannedRun


def lane_of_run(run: PlannedRun) -> Lane:
    """Return the lane with the run's method, settings and the seed of its start and dropout."""
    method = run.spec.method
    return Lane(method.name, method.config, run.spec.init_seed)
