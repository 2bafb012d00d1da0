"""Memory of a training step on the device, against the estimate of the plan job."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.gpu.arms import ANSWER, engine_of, forget, intermediate, items_of, lane, model_of, optim_of, train
from benchmarks.gpu.report import Row, Rows
from benchmarks.gpu.scale import Scale
from benchmarks.models import RANK
from orchestrator.estimate.costs import Costs
from orchestrator.estimate.memory import PROCESS_BYTES, Bytes
from orchestrator.estimate.model_shapes import ModelShape
from orchestrator.estimate.task_sizes import TaskRows
from orchestrator.machine.memory import peak_bytes, reset_peak
from orchestrator.plan.packs import Pack
from orchestrator.plan.runs import PlannedRun, expand
from orchestrator.recipe.spec import SweepSpec

TASK, LABEL = "arc_easy", "d2lora"  # a task that recipes know, for its name only: the check makes its own rows
STEPS = 2


def rows(scale: Scale) -> Rows:
    """Yield a row per number of lanes, with and without gradient checkpointing, for the largest case."""
    for checkpointing in (False, True):
        for lanes in scale.lanes:
            yield _row(scale, lanes, checkpointing)


def _row(scale: Scale, lanes: int, checkpointing: bool) -> Row:
    case = max(scale.cases, key=lambda one: (one.hidden, one.rows))
    model = model_of(scale, case.hidden, layers=scale.layers, dtype=torch.bfloat16)
    if checkpointing:
        _checkpoint(model)
    optim = optim_of(case.rows)
    engine = engine_of(model, [lane(seed) for seed in range(lanes)], optim, scale.device)
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad) // lanes
    forget()
    reset_peak(scale.device)
    train(engine, items_of(scale, case.rows, STEPS), range(lanes), optim)
    peak = peak_bytes(scale.device)
    kept = torch.cuda.max_memory_reserved(scale.device) if scale.device.type == "cuda" else peak
    del engine, model
    forget()
    planned = _planned(scale, case.hidden, case.rows, lanes, checkpointing, trained)
    told = planned.total - PROCESS_BYTES
    return {
        "hidden": case.hidden,
        "lanes": lanes,
        "checkpointing": "yes" if checkpointing else "no",
        "peak GB": peak / 1e9,
        "reserved GB": kept / 1e9,
        "plan GB": told / 1e9,
        "its base": planned.base / 1e9,
        "its adapters": (planned.adapters + planned.gradients + planned.optimizer) / 1e9,
        "its activations": planned.activations / 1e9,
        "peak / plan": peak / told,
    }


def _checkpoint(model: Any) -> None:
    """Turn gradient checkpointing on, with an older transformers than the pinned version, too."""
    from orchestrator.model.loading import enable_checkpointing

    if hasattr(model, "activation_checkpointing_enable"):
        enable_checkpointing(model)
    else:
        model.gradient_checkpointing_enable({"use_reentrant": False})


def _planned(scale: Scale, hidden: int, rows: int, lanes: int, checkpointing: bool, trained: int) -> Bytes:
    """Return the plan job's estimate of the memory of a pack of ``lanes`` lanes with these sizes."""
    heads = hidden // scale.head
    sizes = hidden, intermediate(hidden), scale.layers, heads, heads, scale.head, scale.vocab
    shape = ModelShape(*sizes, tied=False)
    method = {"name": "d2lora", "settings": {"rank": RANK}, "label": LABEL, "targets": "attention"}
    values: dict[str, Any] = {
        "name": "gpu",
        "tasks": [{"name": TASK}],
        "methods": [method],
        "seeds": list(range(lanes)),
        "model": {"name": "tiny", "dtype": "bfloat16"},
        "data": {"max_length": scale.length},
        "optim": {"lr": 1e-4, "epochs": 1, "micro_batch": rows, "global_batch": rows},
        "engine": {"kind": "plain", "gradient_checkpointing": checkpointing},
        "cluster": {"kind": "local", "pack": lanes},
    }
    sweep = SweepSpec.model_validate(values)
    asked = TaskRows(rows, 1, 1, 1, scale.length - ANSWER, ANSWER, known=True)
    runs = tuple(PlannedRun(str(index), run) for index, run in enumerate(expand(sweep)))
    return Costs(sweep, shape, {TASK: asked}, {LABEL: trained}).memory([Pack("all", runs, ())])
