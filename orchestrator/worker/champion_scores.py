"""Score a champion three times: as the adapter of its run, merged and opened again, and by transformers alone (ADR 20).

One model is in memory at a time (ADR 21).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import d2lora
from orchestrator.data.prepared import load_prepared
from orchestrator.data.tokens import Item, TokenisedSplit
from orchestrator.errors import RunError
from orchestrator.files import read_lines, sha256_of
from orchestrator.machine.device import device_of
from orchestrator.machine.memory import let_go
from orchestrator.model.loading import DTYPES, load_model, save_model
from orchestrator.model.own_logits import own_scores, sample_of
from orchestrator.model.token_batch import batch_rows
from orchestrator.store.adapters import load_adapter
from orchestrator.store.rows import right_of
from orchestrator.store.run_folder import RunFolder
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.train.engine.plain import OneProcess
from orchestrator.train.score import Scored, accuracy, count_ties, score_items
from orchestrator.worker.agreement import agreement
from orchestrator.worker.jobs import ChampionJob
from orchestrator.worker.soundness import soundness

SAMPLE = 32  # questions that transformers alone scores too, and whose logits are compared one by one
IDENTITY = ("run_key", "task", "method", "settings", "lr", "seed", "init_seed", "data_seed", "validation_accuracy")


@dataclass(frozen=True)
class Measured:
    """The measurements of a model, kept after the model has left memory.

    ``scored`` has the scores of all test items, ``logits`` the logits (A, V) of the right answer of each sampled item,
    and ``rate`` is the number of items scored per second.
    """

    scored: list[Scored]
    logits: list[Tensor]
    rate: float

    @property
    def scores(self) -> list[tuple[float, ...]]:
        """The log-likelihood of every choice of each item, in nats."""
        return [item.scores for item in self.scored]


def merged_and_evaluated(job: ChampionJob, draft: Path, place: Path) -> dict[str, Any]:
    """Write the merged model of the job's run to ``draft`` and return its evaluation.

    Nothing is merged if the adapter does not score as its run did. ``place`` is the directory that ``draft`` will
    become. The merged figures are measured on the directory opened again, so the measured model is the served model.
    ``right`` has "1" or "0" per test item, as the run has answered it, and ``data`` says which items these are.
    Both speeds are measured with this project's kernels for frozen layers (`d2lora.freeze`), which another server may
    not have. RunError if the row of the run does not fit the run's predictions.
    """
    run = SweepFolder(Path(job.folder)).run(job.row["run_key"])
    run.verify()
    identity = {name: job.row[name] for name in IDENTITY} | {"base_accuracy": job.base_accuracy}
    items, device = load_prepared(Path(job.data))["test"], device_of(job.gpus)
    sample, (committed, right) = sample_of(items, SAMPLE), _committed(run, job, len(items))
    identity |= {"data": job.data_fingerprint, "right": right}
    model = _adapted(job, run, device)
    unmerged = _measure(OneProcess(model, device), items, sample, lanes=1, share=job.share)
    checks = {"run": agreement(items, unmerged.scores, committed, job.dtype)}
    if not checks["run"].holds:
        return identity | soundness(checks, run.path, job.dtype)
    save_model(d2lora.merge_(model), Path(job.base_path), draft)
    del model
    let_go(device)
    files = {file.name: sha256_of(file) for file in sorted(draft.iterdir()) if file.is_file()}
    model = load_model(draft, DTYPES[job.dtype]).eval().to(device)
    sampled = [items[number] for number in sample]
    own = own_scores(model, sampled)
    merged = _measure(OneProcess(d2lora.freeze(model), device), items, sample, lanes=0, share=job.share)
    checks["merge"] = agreement(items, merged.scores, unmerged.scores, job.dtype)
    checks["second_path"] = agreement(sampled, [merged.scores[number] for number in sample], own, job.dtype)
    evaluation = identity | soundness(checks, run.path, job.dtype) | {"path": str(place)}
    if evaluation["status"] == "broken":  # no figure of a broken champion means anything
        return evaluation
    return evaluation | _compared(unmerged, merged) | {"files": files}


def _adapted(job: ChampionJob, run: RunFolder, device: torch.device) -> nn.Module:
    """Return the base under the run's adapter."""
    adapter = load_adapter(run.artefact("adapter"), job.base_fingerprint)
    model = load_model(Path(job.base_path), DTYPES[job.dtype])
    d2lora.attach_lanes(model, [d2lora.lane_of(adapter.description)], list(adapter.description["layers"]))
    d2lora.load_adapter_state(model, adapter.state)
    return model.eval().to(device)


def _committed(run: RunFolder, job: ChampionJob, items: int) -> tuple[list[list[float]], str]:
    """Return the scores that the run has committed, and which items it has right.

    RunError if they contradict the run's row or the test items.
    """
    rows = read_lines(run.artefact("predictions.jsonl"))
    right = right_of(rows)
    if len(rows) != items or right.count("1") / items != job.row["accuracy"]:
        raise RunError(
            f"{run.path} has {right.count('1')} right of {len(rows)} predictions, but an accuracy of "
            f"{job.row['accuracy']} over {items} items: delete it and give the same command, which trains it anew."
        )
    return [row["scores"] for row in rows], right


def _measure(scorer: OneProcess, items: TokenisedSplit, sample: Sequence[int], lanes: int, share: bool) -> Measured:
    """Score all items, after a short warm-up, and compute the logits of the sample's right answers."""
    score_items(scorer, {0: items[:4]}, lanes, share)
    start = time.perf_counter()
    scored = score_items(scorer, {0: items}, lanes, share)[0]
    rate = len(items) / (time.perf_counter() - start)
    with torch.no_grad():
        return Measured(scored, [_right_logits(scorer, items[number]) for number in sample], rate)


def _right_logits(scorer: OneProcess, item: Item) -> Tensor:
    """Return the logits (A, V) of the tokens of the right answer."""
    return scorer.logits(batch_rows([(item.choices[item.answer], item.starts[item.answer])])).cpu()


def _compared(unmerged: Measured, merged: Measured) -> dict[str, Any]:
    """Return how the merged model differs from the adapted model: accuracy, ties, flips, logits and speed."""
    before, after = accuracy(unmerged.scored), accuracy(merged.scored)
    logits = zip(unmerged.logits, merged.logits, strict=True)
    scored = zip(unmerged.scored, merged.scored, strict=True)
    return {
        "items": len(merged.scored),
        "accuracy_merged": after,
        "accuracy_unmerged": before,
        "gap_points": 100 * (after - before),
        "ties_merged": count_ties(merged.scored),
        "ties_unmerged": count_ties(unmerged.scored),
        "item_flips": sum(adapted.predicted != plain.predicted for adapted, plain in scored),
        "largest_logit_difference": max(
            (float((adapted_AV - plain_AV).abs().max()) for adapted_AV, plain_AV in logits), default=0.0
        ),
        "examples_per_second_merged": merged.rate,
        "examples_per_second_unmerged": unmerged.rate,
    }
