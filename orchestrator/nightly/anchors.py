"""The anchors of a night: the unchanged base and the standing champions, scored anew on the test items."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator import objects
from orchestrator.addresses import without_secrets
from orchestrator.files import read_json, write_json
from orchestrator.nightly.record import sealed_content
from orchestrator.nightly.tonight import Tonight
from orchestrator.store.champion import up_to_date
from orchestrator.store.manifest import sealed
from orchestrator.verdict.night import Anchor
from orchestrator.worker.anchor_scores import ScoreAnchor
from orchestrator.worker.jobs import AnchorJob

Surroundings = dict[str, Any]


@dataclass(frozen=True)
class Scored:
    """The anchors that could be scored, on what (`worker.surroundings`; None: unknown), and ``faults``, a line each."""

    anchors: list[Anchor]
    surroundings: Surroundings | None
    faults: list[str]


def score_anchors(tonight: Tonight) -> Scored:
    """Return the anchors of this night, from its file if they were scored before.

    An anchor that cannot be scored is a fault, and is tried again when the night is started again. InputError if the
    cluster cannot be used.
    """
    known = sealed_content(tonight.folder.anchors)
    if known is not None:
        return Scored([Anchor(**anchor) for anchor in known["anchors"]], known["surroundings"], [])
    say, champions = tonight.say, _champions(tonight)
    say(f"anchors: the base{''.join(f', the champion of {task}' for task in champions)}")
    scored = Scored([], None, [])
    cluster = tonight.cluster
    if tonight.spec.cluster.kind == "ray":  # its workers may be on other nodes
        for file in (tonight.ready.base.path, *map(Path, tonight.ready.data_files.values())):
            objects.share(file)
    jobs = [("base", tonight.ready.base.fingerprint, tonight.ready.base.path, list(tonight.ready.data))]
    jobs += [("champion", key, tonight.sweep.champion(task), [task]) for task, key in champions.items()]
    for kind, identity, model, tasks in jobs:
        try:
            answer = cluster.call(ScoreAnchor(_job(tonight, model, tasks)), tonight.folder.path)
        except Exception as error:  # of any kind: the night is incomplete then, and says why
            named = "base" if kind == "base" else f"champion of {tasks[0]}"
            scored.faults.append(f"the {named} could not be scored: {without_secrets(str(error))}")
            continue
        scored = Scored(scored.anchors, scored.surroundings or answer["surroundings"], scored.faults)
        scored.anchors.extend(_anchor(kind, task, identity, rows) for task, rows in answer["scores"].items())
    if not scored.faults:
        content = {"anchors": [asdict(anchor) for anchor in scored.anchors], "surroundings": scored.surroundings}
        write_json(tonight.folder.anchors, sealed(content))
    return scored


def _champions(tonight: Tonight) -> dict[str, str]:
    """Return the run key of each task's standing champion: sound, whole, and of tonight's base and rows.

    A champion of other rows says nothing about tonight's items: rows that move are seen without it.
    """
    folder, champions = tonight.sweep, dict[str, str]()
    made = read_json(folder.sweep)
    made = made if isinstance(made, dict) else {}
    for task, file in folder.evaluations().items():
        evaluation = read_json(file)
        rows = made.get("data", {}).get(task, {}).get("fingerprint")
        same = made.get("base") == tonight.ready.base.fingerprint and rows == tonight.ready.fingerprints.get(task)
        key = evaluation.get("run_key") if isinstance(evaluation, dict) else None
        if same and isinstance(key, str) and up_to_date(file.parent, key) is not None:
            champions[task] = key
    return champions


def _job(tonight: Tonight, model: Path, tasks: list[str]) -> AnchorJob:
    spec = tonight.spec
    return AnchorJob(
        model=str(model),
        data={task: tonight.ready.data_files[task] for task in tasks},
        dtype=spec.dtype,
        share=tonight.ready.shortcuts.share,
        gpus=spec.cluster.gpus_per_worker,
        deterministic=bool(spec.cluster.gpus_per_worker),
    )


def _anchor(kind: Any, task: str, identity: str, rows: list[dict[str, Any]]) -> Anchor:
    right = "".join("1" if row["predicted"] == row["answer"] else "0" for row in rows)
    return Anchor(kind, task, identity, right, [row["scores"][row["answer"]] for row in rows])
