"""The final job for one task: choose on validation, merge, open the merged directory again, compare on test."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import d2lora
from orchestrator.adapter_files import load_adapter
from orchestrator.data import load_prepared
from orchestrator.engine.plain import OneProcess
from orchestrator.files import read_json, sha256_of, write_json
from orchestrator.model import DTYPES, load_model, save_model
from orchestrator.packed import pack_rows
from orchestrator.results import RunFolder
from orchestrator.score import Scored, accuracy, score_items
from orchestrator.tokens import Item, TokenisedSplit

EVALUATION = "evaluation.json"
COMPARED_ITEMS = 32  # questions whose logits are compared one by one; predictions are compared on all


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


def choose(rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the champion's row for each task that has a committed run.

    The method with the most committed seeds at the rate chosen for it, so that none wins by a lucky few; among equals
    the best validation mean, then the recipe's order, so that the choice is stable. Then that method's best seed on
    validation. A method without a validation score loses to any with one; test accuracy has no say.
    """
    found: dict[str, dict[str, Any]] = {}
    for task, content in summary["tasks"].items():
        usable = {label: one for label, one in content["methods"].items() if one["n"]}
        if not usable:
            continue
        label = max(usable, key=lambda name: _standing(usable[name]))
        lr = usable[label]["lr"]
        cell = [row for row in rows if (row["task"], row["method"], row["lr"]) == (task, label, lr)]
        committed = [row for row in cell if row["status"] == "committed"]
        found[task] = dict(max(committed, key=lambda row: (_score(row["validation_accuracy"]), -int(row["seed"]))))
    return found


def _standing(found: Mapping[str, Any]) -> tuple[bool, int, float]:
    validation = found["validation_mean"]
    return validation is not None, found["n"], _score(validation)


def up_to_date(place: Path, run_key: str) -> dict[str, Any] | None:
    """Return the evaluation in ``place`` if it is of this run and its files are whole."""
    evaluation = read_json(place / EVALUATION)
    if not isinstance(evaluation, dict) or evaluation.get("run_key") != run_key:
        return None
    files = evaluation.get("files", {})
    whole = all((place / name).is_file() and sha256_of(place / name) == digest for name, digest in files.items())
    return evaluation if files and whole else None


def make_champion(job: ChampionJob, place: Path) -> dict[str, Any]:
    """Merge the champion into ``place``, a plain Hugging Face directory, and return its evaluation.

    The merged figures are those of the directory opened again, so what was measured is what is served. The two speeds
    are of the same kernels (`d2lora.freeze`), which another server may not have.
    """
    run = RunFolder(Path(job.folder) / "runs" / job.row["run_key"])
    run.verify()
    adapter = load_adapter(run.path / "adapter", job.base_fingerprint)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = DTYPES[job.dtype]
    model = load_model(Path(job.base_path), dtype)
    d2lora.attach_lanes(model, [d2lora.lane_of(adapter.description)], list(adapter.description["layers"]))
    d2lora.load_adapter_state(model, adapter.state)
    draft = place.with_name(f".tmp-{place.name}")
    shutil.rmtree(draft, ignore_errors=True)
    save_model(d2lora.merge(model), Path(job.base_path), draft)
    items = load_prepared(Path(job.data))["test"]
    compared = _compare(model, load_model(draft, dtype), items, device, job.share)
    files = {file.name: sha256_of(file) for file in sorted(draft.iterdir()) if file.is_file()}
    evaluation = _identity(job) | compared | {"path": str(place), "files": files}
    write_json(draft / EVALUATION, evaluation)
    shutil.rmtree(place, ignore_errors=True)
    draft.rename(place)
    return evaluation


def _identity(job: ChampionJob) -> dict[str, Any]:
    names = ("run_key", "task", "method", "settings", "lr", "seed", "init_seed", "data_seed", "validation_accuracy")
    return {name: job.row[name] for name in names} | {"base_accuracy": job.base_accuracy}


def _compare(
    adapted: nn.Module, merged: nn.Module, items: TokenisedSplit, device: torch.device, share: bool
) -> dict[str, Any]:
    """Return accuracy, flips, logits and speed of the adapted and of the merged model on the test items."""
    d2lora.freeze(merged)
    unmerged, unmerged_rate = _scored(OneProcess(adapted.eval(), device), items, lanes=1, share=share)
    plain, merged_rate = _scored(OneProcess(merged.eval(), device), items, lanes=0, share=share)
    difference = _largest_difference(adapted, merged, items[:COMPARED_ITEMS])
    return {
        "items": len(items),
        "accuracy_merged": accuracy(plain),
        "accuracy_unmerged": accuracy(unmerged),
        "gap_points": 100 * (accuracy(plain) - accuracy(unmerged)),
        "item_flips": sum(one.predicted != other.predicted for one, other in zip(plain, unmerged, strict=True)),
        "largest_logit_difference": difference,
        "examples_per_second_merged": merged_rate,
        "examples_per_second_unmerged": unmerged_rate,
    }


def _scored(scorer: OneProcess, items: TokenisedSplit, lanes: int, share: bool) -> tuple[list[Scored], float]:
    """Return the scores and the items a second, after a short warm-up."""
    score_items(scorer, {0: items[:4]}, lanes, share)
    start = time.perf_counter()
    scored = score_items(scorer, {0: items}, lanes, share)[0]
    return scored, len(items) / (time.perf_counter() - start)


def _largest_difference(adapted: nn.Module, merged: nn.Module, items: Sequence[Item]) -> float:
    """Return the largest difference of any logit of any answer token between the two models."""
    device = next(merged.parameters()).device
    largest = 0.0
    for item in items:
        packed = pack_rows([(item.choices[item.answer], item.starts[item.answer])])
        with torch.no_grad():
            pair = [OneProcess(model, device).logits(packed) for model in (adapted, merged)]
        largest = max(largest, float((pair[0] - pair[1]).abs().max()))
    return largest


def _score(value: float | None) -> float:
    return -math.inf if value is None else value
