"""The champion of each task: chosen by validation accuracy; kept if it is up to date, else merged on the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import objects
from orchestrator.addresses import without_secrets
from orchestrator.cluster.cluster import Cluster
from orchestrator.driver.final_message import run_name
from orchestrator.driver.prepare import ReadySweep
from orchestrator.driver.services import Services
from orchestrator.say import Say
from orchestrator.search.best_run import choose
from orchestrator.store.champion import EVALUATION, up_to_date
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.worker.jobs import ChampionJob
from orchestrator.worker.merge import make_champion

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Champions:
    """By task: ``evaluations`` of the merged champions, and ``problems``, the reasons why a champion is not sound."""

    evaluations: dict[str, dict[str, Any]]
    problems: dict[str, str]

    @property
    def sound(self) -> dict[str, dict[str, Any]]:
        """The evaluations of the champions that passed every check."""
        return {task: evaluation for task, evaluation in self.evaluations.items() if evaluation["status"] == "sound"}


def make_champions(
    ready: ReadySweep,
    folder: SweepFolder,
    services: Services,
    rows: Sequence[Row],
    summary: Mapping[str, Any],
    say: Say,
) -> Champions:
    """Merge and evaluate the best run of each task, unless its champion is up to date.

    An error in one task becomes the problem of that task; the other tasks still get their champions.
    """
    champions = Champions({}, {})
    for task, row in choose(rows, summary).items() if ready.spec.champions else ():
        place = folder.champion(task)
        evaluation = up_to_date(place, row["run_key"])
        if evaluation is None:
            say(f"merging the champion of {task}: {run_name(row)}")
            try:
                evaluation = _merge(ready, folder, services.cluster, row)
            except Exception as error:
                champions.problems[task] = without_secrets(str(error))
                continue
        if evaluation["status"] == "broken":
            champions.problems[task] = f"{evaluation['why']} (details: {place / EVALUATION})"
        champions.evaluations[task] = evaluation
    return champions


def _merge(ready: ReadySweep, folder: SweepFolder, cluster: Cluster, row: Row) -> dict[str, Any]:
    """Merge and evaluate one champion with the resources of a worker; return its evaluation."""
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
    )
    place = folder.champion(row["task"])
    place.parent.mkdir(parents=True, exist_ok=True)
    evaluation: dict[str, Any] = cluster.call(MergeChampion(job), place)
    objects.fetch(place)  # from the node that has merged it
    return evaluation


@dataclass(frozen=True)
class MergeChampion:
    """The job of one champion as a function of the champion's folder. `Cluster.call` can pickle and run it."""

    job: ChampionJob

    def __call__(self, place: Path) -> dict[str, Any]:
        """Merge the champion into the folder ``place``; return its evaluation."""
        return make_champion(self.job, place)
