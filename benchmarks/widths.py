"""The pack width that this project's own probe chooses for runs on the bench's rows."""

import tempfile
from pathlib import Path

import torch

from benchmarks.models import RANK, llama
from benchmarks.questions import make_texts, word_tokenizer
from orchestrator.data.prepared import prepare
from orchestrator.data.splits import SplitReport, Splits
from orchestrator.model.shortcuts import Shortcuts
from orchestrator.plan.runs import PlannedRun, expand
from orchestrator.recipe.spec import SweepSpec
from orchestrator.worker.jobs import ProbeJob
from orchestrator.worker.probe import probe_widths

TASK = "arc_easy"  # a task that recipes know, for its name only: the bench makes its own rows
RUNS, STEPS = 8, 400


def probed_width(*, hidden: int, vocab: int, rows: int, length: int, answer: int) -> int:
    """Return how many of eight D2-LoRA runs a pack should hold; a step has ``rows`` rows of ``length`` tokens."""
    with tempfile.TemporaryDirectory(prefix="bench-widths-") as folder:
        place = Path(folder)
        llama(hidden, vocab).save_pretrained(place)
        examples = make_texts(rows * STEPS, length=length, answer=answer, vocab=vocab)
        counts = SplitReport(len(examples), 1, 0, 0, 0, len(examples), 1, 1)
        places = {name: [f"row {row}" for row in range(len(examples))] for name in ("train", "validation", "test")}
        splits = Splits(TASK, examples, examples[:1], examples[:1], places, counts)
        data = prepare(splits, word_tokenizer(vocab), max_length=length, cache_dir=place)
        sweep = _sweep(rows)
        runs = tuple(PlannedRun(str(index), run) for index, run in enumerate(expand(sweep)))
        job = ProbeJob(str(place), {TASK: str(data.path)}, sweep.engine, runs, 1, shortcuts=Shortcuts(blocks=True))
        return probe_widths(job, torch.device("cpu"))[TASK]


def _sweep(rows: int) -> SweepSpec:
    method = {"name": "d2lora", "settings": {"rank": RANK}, "label": "d2lora", "targets": "attention"}
    optim = {"lr": 1e-4, "epochs": 1, "micro_batch": rows, "global_batch": rows}
    values = {"name": "bench", "tasks": [{"name": TASK}], "methods": [method], "seeds": list(range(RUNS))}
    return SweepSpec.model_validate(values | {"optim": optim, "model": {"name": "tiny", "dtype": "float32"}})
