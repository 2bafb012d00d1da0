"""Turn a planned run into the lane on which it trains."""

from __future__ import annotations

from d2lora import Lane
from orchestrator.plan.runs import PlannedRun


def lane_of_run(run: PlannedRun) -> Lane:
    """Return the lane: the run's method, its settings, and the seed that draws its start and its dropout masks."""
    method = run.spec.method
    return Lane(method.name, method.config, run.spec.init_seed)
