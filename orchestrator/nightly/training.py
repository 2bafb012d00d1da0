"""Train one of the night's own sweeps: no champions, no report and no tracker, only rows and run folders."""

from __future__ import annotations

from typing import Any

from orchestrator.driver.collect import collect
from orchestrator.driver.provenance import write_provenance
from orchestrator.driver.rounds import train_rounds
from orchestrator.driver.services import Services
from orchestrator.driver.validation_scores import ValidationScores
from orchestrator.logs import kept
from orchestrator.nightly.tonight import Tonight
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.lease import hold
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.wording import count, listed

Row = dict[str, Any]


def train_apart(tonight: Tonight, spec: SweepSpec) -> list[Row]:
    """Train the runs of ``spec`` that have not ended, in the night's folder; return a row of results per run.

    ``spec`` is a recipe of `nightly.canary`. Started again after a kill it goes on, as every sweep does.
    """
    folder, say, ready = SweepFolder.of(spec), tonight.say, tonight.ready.part(spec)
    say(
        f"{spec.name}: {listed([method.label for method in spec.methods])} on "
        f"{listed([task.name for task in spec.tasks])}, {count(len(ready.runs), 'run')}"
    )
    services = Services(spec, folder, tonight.command, say, tonight.shared)
    with hold(folder.path), kept(folder.logs / "driver.jsonl"), services:
        folder.fetch()
        write_provenance(folder, ready, tonight.command, replace=True)
        services.tracker.begin()
        scores = ValidationScores(folder, ready.runs, spec.search)
        errors = train_rounds(ready, folder, services, scores, tonight.console)
        rows, _ = collect(ready, folder, services.tracker, scores, errors)
    return rows
