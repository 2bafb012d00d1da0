"""The final job for one task: choose on validation, check against the run, merge, open again, score by two paths."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import d2lora
from orchestrator.data.prepared import load_prepared
from orchestrator.data.tokens import Item, TokenisedSplit
from orchestrator.errors import RunError
from orchestrator.files import read_json, read_lines, sha256_of, write_json
from orchestrator.machine.device import device_of
from orchestrator.machine.memory import let_go
from orchestrator.model.loading import DTYPES, load_model, save_model
from orchestrator.model.own_logits import own_scores, sample_of
from orchestrator.model.token_batch import batch_rows
from orchestrator.store.adapters import load_adapter
from orchestrator.store.champion import EVALUATION, up_to_date
from orchestrator.store.run_folder import RunFolder
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.train.engine.plain import OneProcess
from orchestrator.train.score import Scored, accuracy, count_ties, score_items
from orchestrator.worker.agreement import Agreement, agreement

KEPT = ".sound-"  # champions/<task>.sound-<run key>: no task's name has a dot
SAMPLE = 32  # questions that take the second path, and whose logits are compared one by one
BROKEN = {
    "run": "the adapter, loaded again over its base, does not score as its run did when it ended",
    "merge": "the merged directory does not score as the adapter that was merged into it",
    "second_path": "transformers alone does not score the merged directory as the project does",
}
REMEDIES = {
    "run": "Base, software or device have changed since: delete {run} and give the same command, which trains it anew.",
    "merge": "Give the same command again, which merges it anew.",
    "merge in bfloat16": "Merging rounds the weight to bfloat16, each time alike: train with model.dtype=float32, or "
    "with a smaller optim.lr, whose adapter changes scores less.",
    "second_path": "No figure of this sweep holds for this base: do not use them, and train on another base.",
}


@dataclass(frozen=True)
class ChampionJob:
    """What the final job needs, written as JSON beside the champions: paths on storage that every node sees."""

    row: dict[str, Any]
    folder: str
    base_path: str
    base_fingerprint: str
    base_accuracy: float | None
    data: str
    dtype: str
    share: bool = False
    gpus: int = 0


def make_champion(job: ChampionJob, place: Path) -> dict[str, Any]:
    """Merge the champion into ``place``, a plain Hugging Face directory, and return its evaluation.

    The merged figures are those of the directory opened again, so what was measured is what is served. The two speeds
    are of the same kernels (`d2lora.freeze`), which another server may not have. A champion of which a check fails is
    broken: ``place`` then holds its evaluation alone, which says why (ADR 20). A sound champion that was there is
    kept beside it, until there is a sound one again. One model is held at a time (ADR 21).
    """
    draft = place.with_name(f".tmp-{place.name}")
    shutil.rmtree(draft, ignore_errors=True)
    evaluation = _evaluated(job, place, draft)
    if evaluation["status"] == "broken":
        shutil.rmtree(draft, ignore_errors=True)
        _move_sound_aside(place)
        if kept := _kept_sound(place):
            evaluation["why"] += f" The sound champion before it is kept in {kept[-1]}."
    write_json(draft / EVALUATION, evaluation)
    shutil.rmtree(place, ignore_errors=True)
    draft.rename(place)
    for old in _kept_sound(place) if evaluation["status"] == "sound" else ():
        shutil.rmtree(old)
    return evaluation


def _move_sound_aside(place: Path) -> None:
    """Move a sound champion in ``place`` to a name that no task has, so that nobody takes it for the new one."""
    evaluation = read_json(place / EVALUATION)
    run_key = evaluation.get("run_key") if isinstance(evaluation, dict) else None
    if isinstance(run_key, str) and up_to_date(place, run_key) is not None:
        for older in _kept_sound(place):
            shutil.rmtree(older)
        place.rename(place.with_name(f"{place.name}{KEPT}{run_key}"))


def _kept_sound(place: Path) -> list[Path]:
    """Return where the sound champion is that a broken one has moved: at most one directory."""
    return sorted(place.parent.glob(f"{place.name}{KEPT}*"))


@dataclass(frozen=True)
class _Measured:
    """What is kept of a model that is gone: scores of all test items, logits of the sample's right answers, speed."""

    scored: list[Scored]
    logits: list[Tensor]
    rate: float

    @property
    def scores(self) -> list[tuple[float, ...]]:
        return [one.scores for one in self.scored]


def _evaluated(job: ChampionJob, place: Path, draft: Path) -> dict[str, Any]:
    """Return the evaluation; ``draft`` holds the merged directory, unless the adapter is not the run's."""
    run = SweepFolder(Path(job.folder)).run(job.row["run_key"])
    run.verify()
    items, device = load_prepared(Path(job.data))["test"], device_of(job.gpus)
    sample = sample_of(items, SAMPLE)
    model, share = _adapted(job, run, device), job.share
    unmerged = _measured(OneProcess(model, device), items, sample, lanes=1, share=share)
    checks = {"run": agreement(items, unmerged.scores, _scores_of(run, job, len(items)), job.dtype)}
    if not checks["run"].holds:
        return _identity(job) | _status(checks, run, job.dtype)
    save_model(d2lora.merge_(model), Path(job.base_path), draft)
    del model
    let_go(device)
    files = {file.name: sha256_of(file) for file in sorted(draft.iterdir()) if file.is_file()}
    model = load_model(draft, DTYPES[job.dtype]).eval().to(device)
    own = own_scores(model, [items[number] for number in sample])
    merged = _measured(OneProcess(d2lora.freeze(model), device), items, sample, lanes=0, share=share)
    checks["merge"] = agreement(items, merged.scores, unmerged.scores, job.dtype)
    sampled = [items[number] for number in sample], [merged.scores[number] for number in sample]
    checks["second_path"] = agreement(*sampled, own, job.dtype)
    evaluation = _identity(job) | _status(checks, run, job.dtype) | {"path": str(place)}
    if evaluation["status"] == "broken":  # no figure of it means anything
        return evaluation
    return evaluation | _compared(unmerged, merged) | {"files": files}


def _identity(job: ChampionJob) -> dict[str, Any]:
    names = ("run_key", "task", "method", "settings", "lr", "seed", "init_seed", "data_seed", "validation_accuracy")
    return {name: job.row[name] for name in names} | {"base_accuracy": job.base_accuracy}


def _adapted(job: ChampionJob, run: RunFolder, device: torch.device) -> nn.Module:
    """Return the base under the run's adapter."""
    adapter = load_adapter(run.path / "adapter", job.base_fingerprint)
    model = load_model(Path(job.base_path), DTYPES[job.dtype])
    d2lora.attach_lanes(model, [d2lora.lane_of(adapter.description)], list(adapter.description["layers"]))
    d2lora.load_adapter_state(model, adapter.state)
    return model.eval().to(device)


def _scores_of(run: RunFolder, job: ChampionJob, items: int) -> list[list[float]]:
    """Return the scores that the run has committed; RunError where its row does not fit to them, or the items."""
    rows = read_lines(run.path / "predictions.jsonl")
    right = sum(row["predicted"] == row["answer"] for row in rows)
    if len(rows) != items or right / items != job.row["accuracy"]:
        raise RunError(
            f"{run.path} has {right} right of {len(rows)} predictions, but an accuracy of {job.row['accuracy']} over "
            f"{items} items: delete it and give the same command, which trains it anew."
        )
    return [row["scores"] for row in rows]


def _measured(scorer: OneProcess, items: TokenisedSplit, sample: Sequence[int], lanes: int, share: bool) -> _Measured:
    """Score all items, after a short warm-up, and compute the sample's logits."""
    score_items(scorer, {0: items[:4]}, lanes, share)
    start = time.perf_counter()
    scored = score_items(scorer, {0: items}, lanes, share)[0]
    rate = len(items) / (time.perf_counter() - start)
    with torch.no_grad():
        return _Measured(scored, [_logits(scorer, items[number]) for number in sample], rate)


def _logits(scorer: OneProcess, item: Item) -> Tensor:
    return scorer.logits(batch_rows([(item.choices[item.answer], item.starts[item.answer])])).cpu()


def _compared(unmerged: _Measured, merged: _Measured) -> dict[str, Any]:
    """Return accuracy, flips, logits and speed of the adapted and of the merged model."""
    before, after = accuracy(unmerged.scored), accuracy(merged.scored)
    pairs = zip(unmerged.logits, merged.logits, strict=True)
    return {
        "items": len(merged.scored),
        "accuracy_merged": after,
        "accuracy_unmerged": before,
        "gap_points": 100 * (after - before),
        "ties_merged": count_ties(merged.scored),
        "ties_unmerged": count_ties(unmerged.scored),
        "item_flips": sum(a.predicted != b.predicted for a, b in zip(merged.scored, unmerged.scored, strict=True)),
        "largest_logit_difference": max((float((one - other).abs().max()) for one, other in pairs), default=0.0),
        "examples_per_second_merged": merged.rate,
        "examples_per_second_unmerged": unmerged.rate,
    }


def _status(checks: Mapping[str, Agreement], run: RunFolder, dtype: str) -> dict[str, Any]:
    """Return whether the champion is sound or broken, what each check saw, and of a broken one why and what to do."""
    told: dict[str, Any] = {"checks": {name: check.told() for name, check in checks.items()}}
    failed = next((name for name, check in checks.items() if not check.holds), None)
    if failed is None:
        return {"status": "sound", **told}
    check = checks[failed]
    first = f", the first is item {check.apart[0]}" if check.apart else ""
    why = f"{BROKEN[failed]}: {len(check.apart)} of {check.items} items are apart by more than rounding{first}; "
    remedy = REMEDIES.get(f"{failed} in {dtype}", REMEDIES[failed]).format(run=run.path)
    why += f"the largest difference is {check.largest:.3g} nats. {remedy}"
    return {"status": "broken", "why": why, **told}
