"""Pure: whether a champion is sound or broken by its checks, and what to do about a broken champion (ADR 20)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.worker.agreement import Agreement

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


def soundness(checks: Mapping[str, Agreement], run: Path, dtype: str) -> dict[str, Any]:
    """Return the ``status`` of a champion, sound or broken, and the figures of its ``checks``.

    A broken champion also has ``why``: the first check that fails, and its remedy. ``run`` is the folder of its run,
    ``dtype`` the type of its weights. The names of the checks are the keys of `BROKEN`.
    """
    figures = {"checks": {name: check.fields() for name, check in checks.items()}}
    failed = next((name for name, check in checks.items() if not check.holds), None)
    if failed is None:
        return {"status": "sound", **figures}
    check = checks[failed]
    first = f", the first is item {check.apart[0]}" if check.apart else ""
    why = f"{BROKEN[failed]}: {len(check.apart)} of {check.items} items are apart by more than rounding{first}; "
    remedy = REMEDIES.get(f"{failed} in {dtype}", REMEDIES[failed]).format(run=run)
    why += f"the largest difference is {check.largest:.3g} nats. {remedy}"
    return {"status": "broken", "why": why, **figures}
