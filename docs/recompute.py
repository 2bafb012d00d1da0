"""Recompute a finished sweep's figures from its own files alone: python docs/recompute.py sweeps/NAME"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy import stats

folder, rates, tried, scores, paired = Path(sys.argv[1]), {}, {}, {}, {}
for row in map(json.loads, (folder / "results.jsonl").open()):
    rates.setdefault((row["task"], row["method"]), {}).setdefault(row["lr"], []).append(row)
    tried.setdefault(row["method"], set()).update([row["task"]] * (row["status"] != "dropped"))
for (task, method), of in rates.items():  # the rate: fewest lost runs, then best mean validation, then the smaller
    seen = {lr: [one["validation_accuracy"] for one in rows if one["status"] == "committed"] for lr, rows in of.items()}
    rows = of[min(of, key=lambda lr: (not seen[lr], len(of[lr]) - len(seen[lr]), -np.mean(seen[lr] or [0]), lr))]
    done = {row["seed"]: folder / f"predictions/{row['run_key']}.jsonl" for row in rows if row["status"] == "committed"}
    own = {s: np.mean([i["predicted"] == i["answer"] for i in map(json.loads, at.open())]) for s, at in done.items()}
    scores.setdefault(task, {})[method] = own
    paired.setdefault(task, {})[method] = own if all(row["status"] != "stopped" for row in rows) else {}
ours = max(tried, key=lambda method: (len(tried[method]), method == "d2lora"))  # the first of those on the most tasks
for task, name, of in ((task, name, of) for task, methods in paired.items() for name, of in methods.items()):
    lead = [round(mean - of[seed], 12) for seed, mean in paired[task].get(ours, {}).items() if seed in of]
    for what, values in ((name, [*scores[task][name].values()]), (f"{ours} - {name}", lead))[: 1 + (name != ours)]:
        line = {"task": task, "what": what, "n": (n := len(values)), "mean": np.mean(values) if values else None}
        if values[1:] and of:  # two seeds or more, not selected at rungs; all equal: no interval, and the sign test
            line["sd"] = sd = round(np.std(values, ddof=1), 12)
            line["p"] = (t := stats.ttest_1samp(values, 0)).pvalue if sd else 2.0 ** (1 - n) if any(values) else 1.0
            line["interval"] = [*np.clip(t.confidence_interval(), -(what != name), 1)] if sd else None
        print(json.dumps(line))
