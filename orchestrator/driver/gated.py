"""A task's best run before the gate: let in, and the champion before it kept beside it; or refused."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.driver.final_message import run_name
from orchestrator.driver.gate import Gate, decide
from orchestrator.driver.merging import merge
from orchestrator.driver.prepare import ReadySweep
from orchestrator.driver.services import Services
from orchestrator.errors import RunError
from orchestrator.files import write_json
from orchestrator.say import Say
from orchestrator.store.champion import BROKEN, EVALUATION, GATE, champion_before, evaluation_in, up_to_date
from orchestrator.store.champion_change import drop, move_in, next_champion, settle
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.verdict.gate import Decision

Row = Mapping[str, Any]


def through_the_gate(
    gate: Gate, ready: ReadySweep, folder: SweepFolder, services: Services, row: Row, say: Say
) -> dict[str, Any]:
    """Return the evaluation of the task's champion after the gate has decided on the best run of ``row``.

    RunError if no champion stands then: the best run was refused, or its merged model is broken.
    """
    task, place = row["task"], folder.champion(row["task"])
    settle(place)
    decision = decide(gate, ready, folder, services.cluster, row)
    gate.decided[task] = decision
    if decision.decision == "refused":
        say(f"{task}: the champion stays. {run_name(row)} was refused: {decision.why}.")
        return _standing(decision, gate, ready, folder, services)
    evaluation = up_to_date(place, row["run_key"])
    if evaluation is None:
        say(f"merging the champion of {task}: {run_name(row)}")
        evaluation = _let_in(_fields(decision, gate, place), gate, ready, folder, services, row)
        before = champion_before(place)
        say(f"{task}: {decision.why}." + (f" The champion before is kept in {before}." if before else ""))
    return evaluation


def _fields(decision: Decision, gate: Gate, place: Path) -> dict[str, Any]:
    """Return what the evaluation says of the gate; a champion that is merged anew says what it said before."""
    if decision.decision == "kept":
        before = evaluation_in(place).get(GATE)
        return dict(before) if before else {"night": gate.night, "standing": None}
    return decision.as_json() | {"night": gate.night}


def _let_in(
    fields: Row, gate: Gate, ready: ReadySweep, folder: SweepFolder, services: Services, row: Row
) -> dict[str, Any]:
    """Merge a run beside the champion of its task, let it take the champion's place, and return its evaluation.

    A broken one does not: its evaluation goes to ``<task>.broken``. RunError says why.
    """
    place = folder.champion(row["task"])
    new = next_champion(place, gate.night)
    evaluation = merge(ready, folder, services.cluster, row, new)
    if evaluation["status"] == "broken":
        broken = place.with_name(f"{place.name}{BROKEN}")
        shutil.rmtree(broken, ignore_errors=True)
        write_json(broken / EVALUATION, evaluation)
        drop(new)
        raise RunError(f"{evaluation['why']} (details: {broken / EVALUATION})")
    evaluation |= {"path": str(place), GATE: dict(fields)}
    write_json(new / EVALUATION, evaluation)
    move_in(place, new)
    return evaluation


def _standing(
    decision: Decision, gate: Gate, ready: ReadySweep, folder: SweepFolder, services: Services
) -> dict[str, Any]:
    """Return the evaluation of the champion that stays; a damaged one is merged anew from its run."""
    place = folder.champion(decision.task)
    if decision.standing is None:
        raise RunError(f"the best run {decision.run_key} was refused, and no other champion stands: {decision.why}.")
    evaluation = up_to_date(place, decision.standing)
    if evaluation is None:
        run, fields = folder.run(decision.standing), evaluation_in(place)
        if run.ended() != "committed":
            raise RunError(
                f"{place} is damaged, and its run {decision.standing} is not there to be merged anew: bring one of "
                f"them back from a copy, or move {place} away, and the gate takes the best run."
            )
        row = {**run.row(), "base_accuracy": fields.get("base_accuracy")}
        evaluation = _let_in(
            fields.get(GATE) or {"night": gate.night, "standing": None}, gate, ready, folder, services, row
        )
    return evaluation
