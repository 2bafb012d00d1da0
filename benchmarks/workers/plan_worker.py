"""A process that plans a sweep of N runs and prints the cost: `python -m benchmarks.workers.plan_worker N`."""

import json
import sys
import time
from pathlib import Path

from orchestrator.estimate.estimate import estimate
from orchestrator.estimate.model_shapes import shape_of
from orchestrator.plan.packs import pack_runs
from orchestrator.plan.runs import expand, keyed
from orchestrator.recipe.spec import SweepSpec

TASKS = ("arc_easy", "arc_challenge")
METHODS: dict[str, tuple[str, dict[str, object]]] = {
    "d2lora": ("d2lora", {"rank": 8}),
    "d2lora-readd0": ("d2lora", {"rank": 8, "readd": 0}),
    "lora-r": ("lora", {"rank": 8}),
    "lora-2r": ("lora", {"rank": 16}),
    "dora-2r": ("dora", {"rank": 16}),
}


def sweep_of(runs: int) -> SweepSpec:
    """Return a sweep of ``runs`` runs: two tasks, five methods, ``runs / 10`` seeds. ValueError if 10 does not fit."""
    seeds, rest = divmod(runs, len(TASKS) * len(METHODS))
    if rest or not seeds:
        raise ValueError(f"runs={runs} is not a multiple of {len(TASKS)} tasks x {len(METHODS)} methods")
    return SweepSpec.model_validate(
        {
            "name": "planned",
            "tasks": [{"name": name} for name in TASKS],
            "methods": [
                {"name": name, "settings": settings, "label": label, "targets": "attention"}
                for label, (name, settings) in METHODS.items()
            ],
            "seeds": list(range(seeds)),
            "model": {"name": "HuggingFaceTB/SmolLM2-135M-Instruct"},
            "cluster": {"kind": "ray", "max_concurrent": 8},
        }
    )


def main(runs: int) -> dict[str, float]:
    """Plan a sweep of ``runs`` runs; return CPU seconds, peak megabytes and the number of packs."""
    spec = sweep_of(runs)
    plan = estimate(spec, *shape_of(spec.model))
    planned = keyed(expand(spec), "base", dict.fromkeys(TASKS, "data"))
    widths = dict.fromkeys(TASKS, plan.pack_width)
    packs = pack_runs(planned, widths=widths, concurrent=8, base_tasks=TASKS)
    if len({run.key for run in planned}) != runs or sum(len(pack.runs) for pack in packs) != runs:
        raise AssertionError(f"{runs} runs were asked for, {len(planned)} planned")
    return {"seconds": round(time.process_time(), 3), "mb": round(_peak_mb(), 1), "packs": len(packs)}


def _peak_mb() -> float:
    """Return the peak memory of this program; ``ru_maxrss`` also counts the process before it became this program."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1000


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]))) + "\n")
