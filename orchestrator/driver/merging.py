"""Merge the run of a row into a plain model on the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.cluster.cluster import Cluster
from orchestrator.driver.prepare import ReadySweep
from orchestrator.store.champion import fetch_champion
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.worker.jobs import ChampionJob
from orchestrator.worker.merge import make_champion


def merge(
    ready: ReadySweep, folder: SweepFolder, cluster: Cluster, row: Mapping[str, Any], place: Path
) -> dict[str, Any]:
    """Merge and evaluate one champion in ``place`` with the resources of a worker; return its evaluation."""
    job = ChampionJob(
        row=dict(row),
        folder=str(folder.path),
        base_path=str(ready.base.path),
        base_fingerprint=ready.base.fingerprint,
        base_accuracy=row["base_accuracy"],
        data=ready.data_files[row["task"]],
        dtype=ready.spec.dtype,
        share=ready.shortcuts.share,
        gpus=ready.spec.cluster.gpus_per_worker,
        data_fingerprint=ready.fingerprints[row["task"]],
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    evaluation: dict[str, Any] = cluster.call(MergeChampion(job), place)
    fetch_champion(place)  # from the node that has merged it
    return evaluation


@dataclass(frozen=True)
class MergeChampion:
    """The job of one champion as a function of the champion's folder. `Cluster.call` can pickle and run it."""

    job: ChampionJob

    def __call__(self, place: Path) -> dict[str, Any]:
        """Merge the champion into the folder ``place``; return its evaluation."""
        return make_champion(self.job, place)
