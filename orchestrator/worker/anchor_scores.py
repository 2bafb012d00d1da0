"""Score a model that nothing has trained tonight, and say on what machine: when its scores move, the ruler moved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import d2lora
from orchestrator import objects
from orchestrator.data.prepared import load_prepared
from orchestrator.machine.deterministic import deterministic
from orchestrator.machine.device import device_of
from orchestrator.machine.memory import let_go
from orchestrator.model.loading import DTYPES, load_model
from orchestrator.store.champion import fetch_champion
from orchestrator.train.engine.plain import OneProcess
from orchestrator.train.score import prediction_rows, score_items
from orchestrator.worker.jobs import AnchorJob
from orchestrator.worker.surroundings import surroundings


def score_anchor(job: AnchorJob) -> dict[str, Any]:
    """Return the rows of a predictions file by task (``scores``), and the `surroundings` of this process."""
    objects.ensure(Path(job.model))
    fetch_champion(Path(job.model))  # a base has no evaluation, and was just fetched
    for file in job.data.values():
        objects.ensure(Path(file))
    device = device_of(job.gpus)
    with deterministic(job.deterministic):
        model = load_model(Path(job.model), DTYPES[job.dtype]).eval().to(device)
        scorer = OneProcess(d2lora.freeze(model), device)
        items = {task: load_prepared(Path(file))["test"] for task, file in job.data.items()}
        scored = {task: score_items(scorer, {0: each}, 0, job.share)[0] for task, each in items.items()}
    del model, scorer
    let_go(device)
    return {
        "scores": {task: prediction_rows(each) for task, each in scored.items()},
        "surroundings": surroundings(device),
    }


@dataclass(frozen=True)
class ScoreAnchor:
    """The job of one anchor as a function of a folder, which is not used. `Cluster.call` can pickle and run it."""

    job: AnchorJob

    def __call__(self, _folder: Path) -> dict[str, Any]:
        """Score the anchor."""
        return score_anchor(self.job)
