"""The gate before a champion: gathers the answers of the best run and of the standing champion, and has them judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from orchestrator import objects
from orchestrator.cluster.cluster import Cluster
from orchestrator.driver.prepare import ReadySweep
from orchestrator.files import read_lines
from orchestrator.store.champion import BEFORE, GATE, evaluation_in
from orchestrator.store.nights_folder import NIGHTS, date_of
from orchestrator.store.rolled_back import SUFFIX, memory_of, rolled_back
from orchestrator.store.rows import right_of
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.verdict.gate import Decision, Standing, gate
from orchestrator.verdict.night import Anchor
from orchestrator.worker.anchor_scores import ScoreAnchor
from orchestrator.worker.jobs import AnchorJob

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Gate:
    """Lets a new champion in only if it is not found worse than the standing one (ADR 43).

    ``night`` (``YYYY-MM-DD``) names the directory of a champion that is replaced. ``tonight`` are the scores of the
    standing champions on tonight's items, by task, where a night has made them. The sweep puts its decision on each
    task into ``decided``.
    """

    night: str
    tonight: Mapping[str, Anchor] = field(default_factory=dict)
    decided: dict[str, Decision] = field(default_factory=dict)


def gate_of(folder: SweepFolder) -> Gate | None:
    """Return the gate of a sweep that is no night: None unless its folder has nights, or a champion was rolled back."""
    nights, champions = folder.path / NIGHTS, folder.path / "champions"
    names = objects.sizes(nights) if objects.key_of(nights) else (path.name for path in nights.glob("*/"))
    have_begun = any(date_of(name.split("/", 1)[0]) for name in names)
    gated = have_begun or any(champions.glob(f"*{SUFFIX}")) or any(champions.glob(f"*{BEFORE}*"))
    return Gate(date.today().isoformat()) if gated else None


def decide(night: Gate, ready: ReadySweep, folder: SweepFolder, cluster: Cluster, row: Row) -> Decision:
    """Decide on a task's best run by its ``row``; a night that was killed after its decision decides the same again."""
    task, key, place = row["task"], row["run_key"], folder.champion(row["task"])
    evaluation = evaluation_in(place)
    standing = evaluation.get("run_key") if evaluation.get("status") == "sound" else None
    recorded = evaluation.get(GATE)
    if standing == key and recorded and (recorded["night"], recorded["run_key"]) == (night.night, key):
        return Decision.of_json(recorded)
    gone = {
        each.run_key: f"it was rolled back on {each.day}; to let it in again, delete {memory_of(place)}"
        for each in rolled_back(place)
    }
    right = right_of(read_lines(folder.predictions(key)))
    if standing is None or standing == key or key in gone:
        before = None if standing is None else Standing(standing, None)
    else:
        before = _standing(standing, evaluation, night, ready, folder, cluster, task)
    return gate(task, key, right, before, gone)


def _standing(
    key: str, evaluation: Row, night: Gate, ready: ReadySweep, folder: SweepFolder, cluster: Cluster, task: str
) -> Standing:
    """Return the standing champion with its answers on tonight's items, from the first source that has them."""
    items, anchor = ready.data[task].report.test, night.tonight.get(task)
    if anchor is not None and anchor.identity == key and len(anchor.right) == items:
        return Standing(key, anchor.right, "the champion scored tonight")
    if evaluation.get("data") == ready.fingerprints[task] and isinstance(evaluation.get("right"), str):
        return Standing(key, evaluation["right"], "the champion as its run was scored")
    if key in ready.steps_by_key and (rows := read_lines(folder.predictions(key))):
        return Standing(key, right_of(rows), "the champion as its run was scored")
    return _scored_now(key, ready, folder.champion(task), cluster, task)


def _scored_now(key: str, ready: ReadySweep, place: Path, cluster: Cluster, task: str) -> Standing:
    job = AnchorJob(
        model=str(place),
        data={task: ready.data_files[task]},
        dtype=ready.spec.dtype,
        share=ready.shortcuts.share,
        gpus=ready.spec.cluster.gpus_per_worker,
    )
    try:
        rows = cluster.call(ScoreAnchor(job), place)["scores"][task]
        return Standing(key, right_of(rows), "the champion scored now, for its items were others")
    except Exception as error:  # whatever a model that was made long ago does: then nobody knows which is better
        why = f"the champion was scored on other items, and cannot be scored on these ({type(error).__name__}: {error})"
        return Standing(key, None, why_not=f"{why}. To let the new one in all the same, move {place} away")
