"""What a plan says of memory, time and 100,000 runs, against what real packs take.

    python -m benchmarks.plan_memory [CASE...]     # Markdown tables; about three minutes on two cores

Each case is one pack of a sweep on a base with random weights (or the barely trained tiny base), trained by the
product's own trainer in processes of its own, one per worker. Measured is the most memory of a worker's process above
what it held before the pack: `machine.memory.peak_bytes`. The plan gets the lengths of the sweep's own rows, because a
guess of lengths is not what is tested here.

The simulation gets the seconds of the steps of a finished sweep from its rows, as `plan` does, and is compared with the
time that the sweep's packs took.
"""

import json
import os
import pickle
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.measuring.machine import describe
from benchmarks.models import llama
from benchmarks.questions import SPECIAL, word_tokenizer
from orchestrator.data.prepared import load_prepared
from orchestrator.driver.packing import pack_jobs
from orchestrator.driver.prepare import ReadySweep, make_ready
from orchestrator.estimate.estimate import estimate
from orchestrator.estimate.memory import Bytes, LaneLoad, MemoryModel, kept_numbers
from orchestrator.estimate.model_shapes import shape_of
from orchestrator.estimate.simulate import Fleet
from orchestrator.estimate.terms import Terms
from orchestrator.plan.packs import pack_runs
from orchestrator.recipe.equal_parameters import trained_parameters
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.targets import targets_of
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.tiny import TinySettings, ensure_tiny_base

VOCAB, ROWS, WORDS = 8192, 16, 70
RECIPE = """
name: memory
tasks: [{{name: mine, path: {place}/mine.jsonl}}]
methods: [{{name: {method}, rank: {rank}}}]
seeds: {seeds}
model: {{path: {base}, targets: {targets}}}
data: {{train_samples: {rows}, validation_samples: 8, eval_samples: 16, max_length: 256}}
optim: {{lr: 1.0e-4, epochs: 1, micro_batch: {micro}, global_batch: {global_batch}}}
engine: {{kind: {kind}, stage: {stage}, gradient_checkpointing: {again}}}
cluster: {{kind: local, pack: {lanes}, workers: {workers}}}
tracking: {{uri: none}}
storage: {place}/sweeps
champions: false
"""


@dataclass(frozen=True)
class Case:
    """One pack: the base's sizes, the lanes, and what trains them. ``hidden`` 0 is the tiny base."""

    hidden: int
    layers: int = 8
    vocab: int = VOCAB
    lanes: int = 1
    stage: int | None = None
    workers: int = 1
    targets: str = "attention"
    method: str = "d2lora"
    rank: int = 8
    micro: int = 4
    checkpointing: bool = False

    @property
    def name(self) -> str:
        """The case in words."""
        base = f"hidden {self.hidden}, {self.layers} layers" if self.hidden else "tiny"
        engine = "plain" if self.stage is None else f"ZeRO-{self.stage} on {self.workers}"
        more = [self.method, self.targets, *(["checkpointing"] if self.checkpointing else [])]
        return f"{base}, {self.lanes} lanes, {engine}, {', '.join(more)}"


CASES = (
    Case(0, lanes=1),
    Case(0, lanes=16),
    Case(0, lanes=8, stage=2, workers=2),
    Case(256, lanes=1),
    Case(256, lanes=8),
    Case(384, lanes=8),
    Case(256, lanes=4, stage=1, workers=2, rank=32),
    Case(256, lanes=4, stage=2, workers=2, rank=32),
    Case(256, lanes=4, stage=3, workers=2, rank=32),
    Case(512, layers=6, vocab=16384, lanes=2, method="lora", targets="attention+mlp"),
    Case(512, layers=6, vocab=16384, lanes=2, checkpointing=True),
    Case(320, layers=10, vocab=4096, lanes=3, method="dora", targets="mlp"),
    Case(448, layers=5, vocab=12000, lanes=4, method="lora", rank=16, micro=2),
)
"""The last two are packs on which no number of the model was settled."""


def ready_case(case: Case, place: Path) -> tuple[ReadySweep, str]:
    """Return the sweep of a case below ``place``, prepared as a driver prepares it, and its recipe's file."""
    base = ensure_tiny_base(place, settings=TinySettings(steps=10)) if not case.hidden else _random_base(case, place)
    draw = random.Random(0)  # noqa: S311 - no secrets
    names = list(_vocabulary(case))
    rows = [_row(draw, names) for _ in range(ROWS + 24)]
    (place / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = place / "recipe.yaml"
    values = {
        "place": place,
        "base": base,
        "seeds": list(range(case.lanes)),
        "kind": "plain" if case.stage is None else "zero",
        "stage": 2 if case.stage is None else case.stage,
        "again": str(case.checkpointing).lower(),
        "rows": ROWS,
        "global_batch": 2 * case.micro * case.workers,
    }
    recipe.write_text(RECIPE.format(**vars(case) | values))
    spec = read_recipe(recipe, [])
    return make_ready(spec, SweepFolder.of(spec).cache, lambda _: None), str(recipe)


def _random_base(case: Case, place: Path) -> Path:
    base = place / "base"
    llama(case.hidden, case.vocab, case.layers).save_pretrained(base)
    word_tokenizer(case.vocab).save_pretrained(base)
    return base


def _vocabulary(case: Case) -> Sequence[str]:
    if case.hidden:
        return [f"w{number}" for number in range(case.vocab - len(SPECIAL))]
    from orchestrator.tiny.corpus import words

    return sorted(word for word in words() if word.isalpha())


def _row(draw: random.Random, names: Sequence[str]) -> dict[str, Any]:
    words = draw.sample(names, 4) if len(names) >= 4 else list(names)
    question = " ".join(draw.choice(names) for _ in range(WORDS))
    return {"question": question, "choices": words, "answer": draw.randrange(4)}


def told(ready: ReadySweep) -> Bytes:
    """Return what the plan's model says of the case's pack, with the lengths of its own rows."""
    spec = ready.spec
    shape, _ = shape_of(spec.model)
    assert shape is not None  # noqa: S101 - a local base
    splits = load_prepared(ready.data["mine"].path)
    rows = [item.trained() for item in splits["train"]]
    longest = max(len(ids) for ids, _ in rows)
    answer = round(statistics.mean(len(ids) - start for ids, start in rows))
    (method,) = spec.methods
    trained = trained_parameters(method, shape.targets(targets_of(method.targets)))
    kept = kept_numbers(shape, method)
    load = LaneLoad(trained, kept, longest, longest, answer, 4, max(len(splits["validation"]), len(splits["test"])))
    return MemoryModel(spec, shape).of([load] * len(spec.seeds))  # type: ignore[arg-type]


def measured(ready: ReadySweep, place: Path) -> list[int]:
    """Train the case's pack in one process per worker; return each worker's peak above idle, in bytes."""
    spec, folder = ready.spec, SweepFolder.of(ready.spec)
    packs = pack_runs(ready.runs, widths={"mine": len(ready.runs)}, concurrent=1, base_tasks=["mine"])
    (job,) = pack_jobs(ready, folder, packs, {})
    (place / "job.pickle").write_bytes(pickle.dumps(job))
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.workers.plan_memory_worker", str(place)]
    world = spec.cluster.workers
    ranks = [
        subprocess.Popen([*command, str(rank), str(world)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for rank in range(world)
    ]
    peaks = []
    for rank in ranks:
        out, err = rank.communicate(timeout=300)
        if rank.returncode:
            raise RuntimeError(f"a worker ended with {rank.returncode}: {err[-2000:]}")
        peaks.append(int(out.splitlines()[-1]))
    return peaks


def memory_table(cases: Sequence[Case]) -> list[float]:
    """Measure the cases, print a row each, and return model / measured."""
    ratios = []
    _say("| pack | plan MB | measured MB | plan / measured | base | adapters | gradients | optimizer | buffers | "
         "activations | logits | scoring |")  # fmt: skip
    _say("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="plan-memory-") as folder:
            ready, _ = ready_case(case, Path(folder))
            need, peak = told(ready), max(measured(ready, Path(folder)))
        said = need.total - need.process
        ratios.append(said / peak)
        parts = [need.base, need.adapters, need.gradients, need.optimizer, need.buffers, need.activations, need.logits]
        cells = [case.name, _mb(said), _mb(peak), f"{ratios[-1]:.2f}", *map(_mb, [*parts, need.scoring])]
        _say(f"| {' | '.join(cells)} |")
    return ratios


def simulation() -> tuple[float, float]:
    """Train a small sweep; return the hours that the simulation says of its packs, and the hours that they took."""
    with tempfile.TemporaryDirectory(prefix="plan-time-") as folder:
        place = Path(folder)
        base = ensure_tiny_base(place, settings=TinySettings(steps=10))
        recipe = place / "recipe.yaml"
        recipe.write_text(
            f"name: timed\ntasks: [tiny_recall, tiny_above]\nmethods: [d2lora, lora]\nseeds: [0, 1, 2, 3]\n"
            f"model: {{path: {base}}}\ndata: {{train_samples: 256, eval_samples: 64}}\n"
            "optim: {lr: 1.0e-3, epochs: 3, micro_batch: 8, global_batch: 16}\n"
            "engine: {kind: plain}\ncluster: {kind: local, pack: 4}\n"
            f"tracking: {{uri: none}}\nstorage: {place}/sweeps\nchampions: false\n"
        )
        script = (
            "import sys, time; from orchestrator.cluster.local import LocalCluster as C; run = C.run_packs\n"
            "def timed(self, *words):\n"
            "    begin = time.monotonic(); failed = run(self, *words)\n"
            "    print('PACKS', time.monotonic() - begin, file=sys.stderr); return failed\n"
            "C.run_packs = timed\n"
            "import jobs.sweep; from jobs.command import add_log_option, run_job\n"
            "sys.exit(run_job('sweep', '', jobs.sweep.main, [sys.argv[1]], add_log_option))"
        )
        done = subprocess.run([sys.executable, "-c", script, str(recipe)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the sweep ended with {done.returncode}: {done.stderr[-2000:]}")
        took = sum(float(line.split()[1]) for line in done.stderr.splitlines() if line.startswith("PACKS"))
        spec = read_recipe(recipe, [])
        speed = estimate(spec, *shape_of(spec.model), folder=SweepFolder.of(spec)).rate.tflops
        plan = estimate(spec, *shape_of(spec.model), tflops=speed, terms=Terms(fleet=Fleet(1, start=0.0)))
        assert plan.simulation is not None  # noqa: S101 - it was asked for
        return plan.simulation.makespan_hours, took / 3600


def planned(runs: int = 100_096) -> float:
    """Plan the paper's recipe with so many runs, table included, in a process of its own; return its CPU seconds."""
    seeds = list(range(runs // 128))  # 8 tasks, 4 methods, 4 rates
    words = ["recipes/paper.yaml", f"seeds={seeds}", "--gpu", "8xa100-80gb", "--spot", "--simulate", "4"]
    begin = os.times()
    done = subprocess.run([sys.executable, "jobs/plan.py", *words], capture_output=True, text=True, check=True)
    if f"{runs:,}" not in done.stdout:
        raise AssertionError(f"the plan is not of {runs:,} runs")
    end = os.times()
    return end.children_user + end.children_system - begin.children_user - begin.children_system


def main(chosen: Sequence[int]) -> None:
    """Measure and print."""
    _say("; ".join(describe()) + "\n")
    begin = time.monotonic()
    if ratios := memory_table([CASES[number] for number in chosen] if chosen else CASES):
        worst = max(ratios, key=lambda ratio: max(ratio, 1 / ratio))
        _say(f"\nplan / measured: median {statistics.median(ratios):.2f}, worst {worst:.2f}")
    if not chosen:
        said, took = simulation()
        _say(f"simulated {said * 3600:.1f} s, took {took * 3600:.1f} s: {said / took:.2f}")
        _say(f"100,096 runs planned, priced, simulated and printed in {planned():.1f} s of CPU")
    _say(f"{time.monotonic() - begin:.0f} s in all")


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f}"


def _say(line: str) -> None:
    Console(highlight=False).print(line, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]])
