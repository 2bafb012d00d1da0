"""Made-up nights, as ``night.json`` and the rows have them: for the tests of pages, of telling and of MLflow."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from orchestrator.nightly.history import row_of

CELLS = [("tiny_recall", "d2lora"), ("tiny_recall", "lora"), ("tiny_above", "d2lora"), ("tiny_above", "lora")]
LEVELS = {
    ("tiny_recall", "d2lora"): 0.742, ("tiny_recall", "lora"): 0.715, ("tiny_above", "d2lora"): 0.633,
    ("tiny_above", "lora"): 0.608,
}  # fmt: skip
COMMAND = "python jobs/nightly.py recipes/nightly.yaml"
CHANGE = {"what": "version", "name": "torch", "before": "2.13.0", "after": "2.13.1", "since": "2026-11-28"}
FLIPS = [
    {"index": 17, "before": 1.0, "after": 0.0, "question": "Which of these towns lies north of the river Olm?"},
    {"index": 204, "before": 1.0, "after": 0.5, "question": "How many lamps has the harbour of Terrin?"},
    {"index": 91, "before": 0.0, "after": 1.0, "question": "Who keeps the bridge at Sell in winter?"},
]
LINES = {
    "same_bytes": "All 4 cells have the bytes of the baseline.",
    "within_noise": "Bytes moved in 4 cells with torch 2.13.1; no loss was found.",
    "ruler_moved": "The rows of tiny_recall and tiny_above are others.",
    "incomplete": "Incomplete: the canary has 2 runs without a result.",
}
STATUS_OF = {"same_bytes": "unchanged", "within_noise": "moved", "worse": "worse", "better": "better"}


def dates(nights: int, last: str = "2026-11-28") -> list[str]:
    """Return the dates of so many nights in a row."""
    end = date.fromisoformat(last)
    return [(end - timedelta(days=back)).isoformat() for back in reversed(range(nights))]


def cell(task: str, method: str, status: str = "unchanged", **values: Any) -> dict[str, Any]:
    """Return a cell of a night; ``values`` are other than usual."""
    level = LEVELS.get((task, method), 0.7)
    return {
        "task": task, "method": method, "status": status, "accuracy": level,
        "baseline": {"nights": 12, "mean": level, "interval": [level - 0.012, level + 0.012]},
        "difference": 0.0, "interval": [-0.011, 0.011], "p": 1.0, "nights_in_row": 12, "first_bad": None,
        "bytes": {"equal": True, "against": "2026-11-27", "comparable": True, "run": None, "first_step": None,
                  "step_before": None, "step_after": None},
        "flips": [], "flips_lost": 0, "flips_won": 0, "seconds": 8.4, "slower": 1.02, "memory": 512 * 2**20,
        "command": f"{COMMAND} night=2026-11-28 nightly.canary.tasks='[{task}]' nightly.canary.methods='[{method}]'",
        "link": "canary/report.html",
    } | values  # fmt: skip


def night(verdict: str = "same_bytes", name: str = "2026-11-28", **values: Any) -> dict[str, Any]:
    """Return the content of a ``night.json``; ``values`` are other than usual."""
    cells = values.pop("cells", None) or [cell(*one, STATUS_OF.get(verdict, "unchanged")) for one in CELLS]
    counts = {"cells": len(cells)} | dict.fromkeys(("worse", "suspected", "unchanged", "better", "broken"), 0)
    for one in cells:
        counts[one["status"]] = counts.get(one["status"], 0) + 1
    return {
        "night": name, "name": "quickstart", "verdict": verdict, "line": f"The verdict is {verdict}.", "since": name,
        "counts": counts, "changed": [], "cells": cells,
        "anchors": [
            {"kind": "base", "task": task, "accuracy": 0.262, "before": 0.262, "median_score_change": 0.0, "flips": 0,
             "moved": False}
            for task in ("tiny_recall", "tiny_above")
        ],
        "confirmed": None, "culprit": None, "notes": [], "broken": "",
        "evidence": {"p": None, "e": 1.4, "threshold_p": 2.7e-4, "threshold_e": 36500.0, "joined_over": len(cells)},
        "frontier": {"trained": 0, "kept": 40, "renewed": {}, "why": "The canary's bytes are equal: results stand."},
        "champions": [{"task": "tiny_recall", "run_key": "a1" * 16, "standing": "a1" * 16, "decision": "kept",
                       "p": None, "difference": 0.0, "why": "It is the same run."}],
        "cost": {"seconds": 94.0, "train_seconds": 61.0, "usd": None},
        "told": None,
        "series": {"machine": "AMD EPYC, 1 worker", "versions": {"torch": "2.13.1", "python": "3.11.9"},
                   "base": "b" * 64, "rows": {"tiny_recall": "c" * 64}, "settings": "d" * 64},
        "commands": {"again": f"{COMMAND} night={name}", "bisect": None,
                     "roll_back": "python jobs/roll_back.py recipes/nightly.yaml task=TASK", "accept": None},
        "status": "over",
    } | values  # fmt: skip


def bad_night(name: str = "2026-11-28") -> dict[str, Any]:
    """Return a night with a confirmed loss, its culprit and its flipped items, and one cell of each kind."""
    lost = {"equal": False, "against": "2026-11-27", "comparable": True, "run": 0, "first_step": 3,
            "step_before": 1.3921, "step_after": 1.4108}  # fmt: skip
    bisect = f"{COMMAND} night={name} --bisect 4f1c2d9..b07a11e cell=tiny_recall/d2lora"
    changed = [
        {"what": "commit", "name": "", "before": "4f1c2d9", "after": "b07a11e", "since": name},
        {"what": "code", "name": "", "before": "1f" * 32, "after": "2e" * 32, "since": name},
        CHANGE | {"since": name},
    ]
    cells = [
        cell("tiny_recall", "d2lora", "worse", accuracy=0.694, difference=-0.048, interval=[-0.071, -0.025], p=1.8e-5,
             nights_in_row=1, first_bad=name, bytes=lost, flips=FLIPS, flips_lost=31, flips_won=7),
        cell("tiny_recall", "lora", "suspected", accuracy=0.702, difference=-0.013, interval=[-0.03, 0.004], p=0.031,
             nights_in_row=1, bytes=lost),
        cell("tiny_above", "d2lora", "moved", accuracy=0.636, difference=0.003, p=0.62, bytes=lost),
        cell("tiny_above", "lora", "better", accuracy=0.641, difference=0.033, interval=[0.01, 0.056], p=0.99,
             nights_in_row=1, bytes=lost),
        cell("tiny_new", "d2lora", "new", baseline=None, difference=None, interval=None, p=None, nights_in_row=1,
             bytes=None),
        cell("tiny_new", "lora", "never_passed", accuracy=None, baseline=None, difference=None, interval=None,
             p=None, nights_in_row=5, bytes=None, seconds=None, memory=None, slower=None, link=None),
    ]  # fmt: skip
    return night(
        "worse",
        name,
        cells=cells,
        line="d2lora on tiny_recall lost 4.8 points since tonight; confirmed with 5 fresh seeds.",
        changed=changed,
        confirmed={"seeds": 5, "p": 2.1e-4, "difference": -0.046, "interval": [-0.068, -0.024],
                   "cells": [["tiny_recall", "d2lora"]], "holds": True},
        culprit={"task": "tiny_recall", "method": "d2lora", "first_bad": name, "last_good": "2026-11-27",
                 "changed": changed, "flips": FLIPS, "command": cells[0]["command"], "bisect": bisect},
        evidence={"p": 1.8e-5, "e": 71000.0, "threshold_p": 2.7e-4, "threshold_e": 36500.0, "joined_over": 4},
        frontier={"trained": 0, "kept": 40, "renewed": {}, "why": "A confirmed loss: nothing is trained under it."},
        champions=[{"task": "tiny_recall", "run_key": "e5" * 16, "standing": "a1" * 16, "decision": "refused",
                    "p": 0.003, "difference": -0.041, "why": "It is found worse than the standing one."}],
        cost={"seconds": 312.0, "train_seconds": 205.0, "usd": 0.31},
        told={"to": "https://hooks.example.com", "status": "told", "attempts": 2, "problem": None},
    )  # fmt: skip


def story(nights: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return the rows of so many nights before the last: quiet ones, a new torch, broken nights, a moved ruler.

    The last night is `bad_night`, which is not among the rows.
    """
    draw, rows, since = random.Random(seed), list[dict[str, Any]](), ""
    for index, name in enumerate(dates(nights + 1)[:-1]):
        share = index / max(1, nights)
        if 0.55 < share < 0.58 or draw.random() < 0.01:
            verdict = "incomplete"
        elif nights > 20 and index == round(0.75 * nights):
            verdict = "ruler_moved"
        else:
            verdict = "within_noise" if nights > 20 and index == round(0.35 * nights) else "same_bytes"
        since = since if rows and rows[-1]["verdict"] == verdict else name
        rows.append(row_of(_quiet_night(name, verdict, share, draw) | {"since": since, "line": LINES[verdict]}))
    return rows


def _quiet_night(name: str, verdict: str, share: float, draw: random.Random) -> dict[str, Any]:
    """Return a night on which nothing was lost; after a moved ruler the level is another one."""
    level = 0.0 if share >= 0.75 else -0.03
    cells = [
        cell(
            *one,
            STATUS_OF.get(verdict, "unchanged"),
            accuracy=None if verdict == "incomplete" else LEVELS[one] + level + draw.gauss(0, 0.006),
            seconds=None if verdict == "incomplete" else (9.9 if share < 0.35 else 8.4) * draw.uniform(0.97, 1.05),
            memory=512 * 2**20 + draw.randrange(2**20),
        )
        for one in CELLS
    ]
    return night(verdict, name, cells=cells)


def with_row(rows: Sequence[Mapping[str, Any]], content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the rows with that of a further night."""
    return [*rows, row_of(content)]
