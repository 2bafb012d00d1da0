"""One sweep from recipe to champions: prepare, train what is missing, summarise, merge, report."""

from __future__ import annotations

from rich.console import Console

from orchestrator.doctor import quick
from orchestrator.driver.champions import make_champions
from orchestrator.driver.collect import collect
from orchestrator.driver.final_message import final_message
from orchestrator.driver.gate import Gate, gate_of
from orchestrator.driver.prepare import make_ready, refuse_empty_merge, runs_of_other_versions
from orchestrator.driver.provenance import refuse_moved_base, write_provenance
from orchestrator.driver.publish import publish
from orchestrator.driver.rounds import train_rounds
from orchestrator.driver.services import Services, Shared
from orchestrator.driver.spending import budget_of
from orchestrator.driver.validation_scores import ValidationScores
from orchestrator.logs import kept
from orchestrator.recipe.spec import SweepSpec
from orchestrator.say import lines_to
from orchestrator.search.halving import rung_lines
from orchestrator.store.lease import hold
from orchestrator.store.links import refuse_links_out
from orchestrator.store.sweep_folder import SweepFolder


def run_sweep(
    spec: SweepSpec,
    command: str,
    console: Console,
    *,
    train: bool = True,
    gate: Gate | None = None,
    shared: Shared | None = None,
) -> int:
    """Do the parts of a sweep that are not done yet; return the exit code: 0 all done, 1 something failed.

    All progress is in the run folders. The same call again continues where an earlier call ended, also after a crash
    (`store.run_folder` lists the steps). ``command`` is the command line as it is shown to people. Without ``train``
    everything but training is done again. ``gate`` is the gate of a night before its champions; without it a folder
    that has nights has a gate of its own. ``shared`` is what a night lends to its sweeps.

    Raises InputError before anything is trained, if storage, data, base, cluster or tracker cannot be used, and
    HeldError if another process works on the same sweep.
    """
    folder, say = SweepFolder.of(spec), lines_to(console)
    refuse_links_out(folder.path)
    budget_of(spec)  # a price that the table lacks is refused before anything is prepared
    services = Services(spec, folder, command, say, shared)
    for line in quick.remarks_on_room(spec, quick.try_storage_of(spec)):
        say(line)
    with hold(folder.path), kept(folder.logs / "driver.jsonl"), services:
        say(f"{spec.name}: preparing")
        folder.fetch()
        services.check()
        ready = make_ready(
            spec, shared.cache if shared else folder.cache, say, services.begin_cluster if train else None
        )
        if train:
            for line in rung_lines(spec.search, ready.steps):
                say(line)
        else:
            refuse_empty_merge(ready, folder, command)
        if remark := runs_of_other_versions(folder):
            say(remark)
        if not (shared and shared.take_moved_base):
            refuse_moved_base(folder, ready)
        write_provenance(folder, ready, command, replace=train)
        services.tracker.begin()
        scores = ValidationScores(folder, ready.runs, spec.search)
        errors = train_rounds(ready, folder, services, scores, console) if train else {}
        rows, summary = collect(ready, folder, services.tracker, scores, errors)
        champions = make_champions(ready, folder, services, rows, summary, say, gate or gate_of(folder))
        complete = publish(ready, folder, services.tracker, rows, summary, champions)
        problems = [f"no champion for {task}: {problem}" for task, problem in champions.problems.items()]
        if services.tracker.problem:
            problems.append(services.tracker.problem)
        for line in final_message(folder, spec.tracking.uri, rows, summary, champions.sound, problems):
            say(line)
    return 0 if complete else 1
