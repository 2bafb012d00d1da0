"""The whole sweep on a night: only what a change has reached is trained again; every job sees which runs count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.driver.gate import Gate
from orchestrator.errors import InputError
from orchestrator.files import read_lines, write_json
from orchestrator.nightly.commands import sweep_command
from orchestrator.nightly.record import sealed_content
from orchestrator.nightly.tonight import Tonight
from orchestrator.nightly.world import makers_of
from orchestrator.plan.runs import PlannedRun, expand, keyed
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.champion import up_to_date
from orchestrator.store.ends import ENDS
from orchestrator.store.frontier import METHODS, read_frontier, renewed_of
from orchestrator.store.manifest import sealed
from orchestrator.store.nights_folder import NightsFolder
from orchestrator.store.rows import FINAL
from orchestrator.sweep import run_sweep
from orchestrator.verdict import frontier
from orchestrator.verdict.frontier import State, Trained
from orchestrator.verdict.gate import Decision
from orchestrator.verdict.night import Anchor, Night
from orchestrator.verdict.verdict import Verdict

DECIDED = "decided"
"""The key of a night's copy of the frontier with what the night has decided."""


@dataclass(frozen=True)
class Renewal:
    """What happened to the whole sweep tonight.

    ``renewed`` is the night in the keys of each renewed method's runs. ``trained`` and ``kept`` count runs, ``seconds``
    are the training seconds of the trained ones. ``champions`` are the decisions of the gate. ``faults`` are the runs
    and champions that failed, a line each: they make the night incomplete.
    """

    renewed: Mapping[str, str]
    why: str
    trained: int = 0
    kept: int = 0
    seconds: float = 0.0
    champions: Sequence[Decision] = ()
    faults: Sequence[str] = field(default=())

    def content(self) -> dict[str, Any]:
        """Return the part ``frontier`` of ``night.json``."""
        return {"trained": self.trained, "kept": self.kept, "renewed": dict(self.renewed), "why": self.why}


def renew(tonight: Tonight, measured: Night, verdict: Verdict, *, unfinished: bool) -> Renewal:
    """Decide which methods tonight's change has reached, write the frontier, and bring the sweep up to date.

    The decision is written before anything is trained, so a night that is killed and started again goes on with it.
    ``unfinished`` tells that a confirmation has runs without a result. Errors as of `run_sweep`.
    """
    decided = _decided(tonight, measured, verdict, unfinished)
    renewed = dict(decided["renewed"])
    spec = tonight.spec.model_copy(update={"renewed": renewed})
    runs = planned(tonight, spec)
    if not decided["trains"]:
        return Renewal(renewed, decided["why"], kept=_ended(tonight, runs))
    before = set(decided["before"])
    gate = Gate(tonight.folder.name, {anchor.task: anchor for anchor in _champions(measured.anchors)})
    command = sweep_command(tonight.command)
    asked = tonight.asked.model_copy(update={"renewed": renewed})
    code = run_sweep(asked, command, tonight.console, gate=gate, shared=tonight.shared)
    rows = read_lines(tonight.sweep.results)
    faults = [*_failed(rows), *_without_champion(tonight, gate.decided)] if code else []
    new = [row for row in rows if row["run_key"] not in before and row["status"] in ENDS]
    return Renewal(
        renewed,
        decided["why"],
        trained=len(new),
        kept=len(before & {run.key for run in runs}),
        seconds=sum(row.get("train_seconds") or 0.0 for row in new),
        champions=list(gate.decided.values()),
        faults=faults,
    )


def planned(tonight: Tonight, spec: SweepSpec) -> list[PlannedRun]:
    """Return the runs of the whole sweep with their keys; ``spec`` says which of them are renewed."""
    return keyed(expand(spec), tonight.ready.base.fingerprint, tonight.ready.fingerprints)


def _decided(tonight: Tonight, measured: Night, verdict: Verdict, unfinished: bool) -> Mapping[str, Any]:
    """Return the decision of this night: the one that it has written, or a new one, which is then written."""
    copy = tonight.folder.frontier
    content = sealed_content(copy)
    if content is None or content[DECIDED]["status"] != verdict.status:
        decision = frontier.decide(
            _still_there(tonight, measured),
            measured,
            verdict.status,
            [method.label for method in tonight.spec.methods],
            unfinished_confirmation=unfinished,
            verified=_verified(tonight, measured),
            retrain_when_ruler_moves=tonight.spec.nightly.retrain_when_ruler_moves,
            missing=_ended(tonight, tonight.ready.runs) < len(tonight.ready.runs),
        )
        state = {label: [asdict(trained) for trained in kept] for label, kept in decision.state.items()}
        parts = ("renewed", "reached", "back", "kept", "trains", "why")
        spec = tonight.spec.model_copy(update={"renewed": decision.renewed})
        before = [run.key for run in planned(tonight, spec) if tonight.sweep.run(run.key).ended()]
        decided = {part: getattr(decision, part) for part in parts} | {"status": verdict.status, "before": before}
        content = sealed({METHODS: state, DECIDED: decided})
        write_json(copy, content)
    write_json(tonight.nights.frontier, content)
    return dict(content[DECIDED])


def _still_there(tonight: Tonight, measured: Night) -> State:
    """Return the state of the frontier without what was trained earlier and has been deleted since.

    The present one stays, whether its runs are there or not: what is missing of it is trained. What was trained under
    another ruler stays too, because the keys of its runs are not known tonight.
    """
    ruler = frontier.ruler_of(measured)
    content = read_frontier(tonight.nights)
    state = {label: [Trained(**each) for each in kept] for label, kept in content[METHODS].items()} if content else {}
    return {
        label: (*(each for each in kept[:-1] if each.ruler != ruler or _is_there(tonight, label, each)), kept[-1])
        for label, kept in state.items()
    }


def _is_there(tonight: Tonight, label: str, trained: Trained) -> bool:
    methods = [method for method in tonight.spec.methods if method.label == label]
    if not methods:
        return False
    renewed = {} if trained.night is None else {label: trained.night}
    spec = tonight.spec.model_copy(update={"methods": methods, "renewed": renewed})
    return all(tonight.sweep.run(run.key).ended() for run in planned(tonight, spec))


def _verified(tonight: Tonight, measured: Night) -> bool:
    """Return whether all finished runs of the sweep were made by tonight's code and versions."""
    world = measured.world
    rows = read_lines(tonight.sweep.results)
    makers = [maker for row in rows if row.get("status") in FINAL for maker in (makers_of(row) or [{}])]
    return all(
        maker.get("code") == world.code
        and all(world.versions.get(name) == value for name, value in maker.get("versions", {}).items())
        for maker in makers
    )


def _ended(tonight: Tonight, runs: Sequence[PlannedRun]) -> int:
    return sum(tonight.sweep.run(run.key).ended() is not None for run in runs)


def _champions(anchors: Sequence[Anchor]) -> list[Anchor]:
    return [anchor for anchor in anchors if anchor.kind == "champion"]


def _failed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"the sweep's run {row['method']} on {row['task']}, seed {row['seed']}, has no result ({row['run_key']})"
        for row in rows
        if row["status"] not in FINAL
    ]


def _without_champion(tonight: Tonight, decided: Mapping[str, Decision]) -> list[str]:
    """Return a line per task whose champion is not what the gate has decided: its merge failed, or it is broken."""
    faults = []
    for task in (task.name for task in tonight.spec.tasks) if tonight.spec.champions else ():
        decision = decided.get(task)
        key = None if decision is None else decision.run_key if decision.lets_in else decision.standing
        if key is None or up_to_date(tonight.sweep.champion(task), key) is None:
            faults.append(f"{task} has no sound champion (why: {tonight.sweep.logs / 'driver.jsonl'})")
    return faults


def refuse_own_renewed(nights: NightsFolder, spec: SweepSpec) -> None:
    """Refuse a recipe that itself says which runs are renewed: on nights the frontier does. InputError.

    ``spec`` is as a job gets it: with the nights of the frontier in ``renewed``.
    """
    state = read_frontier(nights)
    of_nights = renewed_of(state, spec.model_copy(update={"renewed": {}})) if state else {}
    own = {label: night for label, night in spec.renewed.items() if of_nights.get(label) != night}
    if own:
        raise InputError(
            f"renewed: {own}: nights decide themselves which methods are trained anew. Leave the key out of a recipe "
            "that runs at night."
        )
