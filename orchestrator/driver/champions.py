"""The champion of each task: chosen by validation accuracy; kept if it is up to date, else merged on the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.addresses import without_secrets
from orchestrator.driver.final_message import run_name
from orchestrator.driver.gate import Gate
from orchestrator.driver.gated import through_the_gate
from orchestrator.driver.merging import merge
from orchestrator.driver.prepare import ReadySweep
from orchestrator.driver.services import Services
from orchestrator.say import Say
from orchestrator.search.best_run import choose
from orchestrator.store.champion import EVALUATION, up_to_date
from orchestrator.store.sweep_folder import SweepFolder

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
    gate: Gate | None = None,
) -> Champions:
    """Merge and evaluate the best run of each task, unless its champion is up to date, or the ``gate`` refuses the run.

    An error in one task becomes the problem of that task; the other tasks still get their champions.
    """
    champions = Champions({}, {})
    for task, row in choose(rows, summary).items() if ready.spec.champions else ():
        place = folder.champion(task)
        try:
            if gate is None:
                evaluation = _best(ready, folder, services, row, say)
            else:
                evaluation = through_the_gate(gate, ready, folder, services, row, say)
        except Exception as error:
            champions.problems[task] = without_secrets(str(error))
            continue
        if evaluation["status"] == "broken":
            champions.problems[task] = f"{evaluation['why']} (details: {place / EVALUATION})"
        champions.evaluations[task] = evaluation
    return champions


def _best(ready: ReadySweep, folder: SweepFolder, services: Services, row: Row, say: Say) -> dict[str, Any]:
    """Return the evaluation of a task's best run, which is merged unless it stands already."""
    place = folder.champion(row["task"])
    evaluation = up_to_date(place, row["run_key"])
    if evaluation is None:
        say(f"merging the champion of {row['task']}: {run_name(row)}")
        evaluation = merge(ready, folder, services.cluster, row, place)
    return evaluation
