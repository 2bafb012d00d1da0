"""A check before timing: from one start, on the same rows, our engine and the tuned PEFT loop have equal losses."""

from pathlib import Path
from typing import Any

from benchmarks.sweep_arms.case import ALPHA, EVAL_ROWS, RANK, RATE, TARGETS, TASKS, Prepared, Row

STEPS = 6
CLOSE = 1e-4  # largest relative difference of a loss: float32 sums in two orders, over a few steps of Adam


def losses_of_both(prepared: Prepared, cache: Path) -> tuple[list[float], list[float]]:
    """Return the first losses of our engine and of the tuned loop; each prepares the rows in its own way."""
    from orchestrator.model.loading import load_model
    from orchestrator.train.lanes import LaneStep
    from orchestrator.train.loop import train_lanes

    task = TASKS[0]
    ours: list[float] = []

    def keep(done: dict[int, LaneStep]) -> None:
        ours.append(done[0].loss)

    engine, plan, optim = _our_parts(prepared, task, cache, load_model(prepared.base))
    downs = {name: value.detach().clone() for name, value in engine.model.named_parameters() if "down_0" in name}
    train_lanes(engine, [plan], optim, on_step=keep, on_end=lambda *_: None)
    return ours, _tuned_losses(prepared, task, downs)


def disagreement(ours: list[float], theirs: list[float]) -> float:
    """Return the largest relative difference between the losses of a step."""
    return max(abs(one - other) / abs(other) for one, other in zip(ours, theirs, strict=True))


def check(prepared: Prepared, cache: Path) -> str:
    """Return the losses that were compared, in words; AssertionError if they differ by more than rounding."""
    ours, theirs = losses_of_both(prepared, cache)
    apart = disagreement(ours, theirs)
    words = f"first {len(ours)} losses of ours {_words(ours)}, of the tuned loop {_words(theirs)}: {apart:.1e} apart"
    if not apart < CLOSE:
        raise AssertionError(f"{prepared.case.label}: {words}, more than {CLOSE:g}")
    return words


def _our_parts(prepared: Prepared, task: str, cache: Path, model: Any) -> tuple[Any, Any, Any]:
    """Return our engine with one lane, the lane's plan for a few steps, and AdamW's settings."""
    import torch

    import d2lora
    from orchestrator.data.prepared import load_prepared, prepare
    from orchestrator.data.splits import split_examples
    from orchestrator.data.tasks.own import Columns, own_task
    from orchestrator.model.loading import load_tokenizer
    from orchestrator.recipe.sections import OptimSpec
    from orchestrator.train.engine.plain import PlainEngine
    from orchestrator.train.lanes import LanePlan

    case = prepared.case
    own = own_task(task, prepared.file(task, "pool"), Columns(), prepared.file(task, "test"))
    splits = split_examples(own, train_samples=case.batch * case.steps, validation_samples=EVAL_ROWS)
    data = prepare(splits, load_tokenizer(prepared.base), max_length=64, cache_dir=cache)
    optim = OptimSpec(lr=RATE, epochs=1.0, micro_batch=case.batch, global_batch=case.batch, warmup=0.0)
    config = d2lora.get_method(case.method).Config(rank=RANK, alpha=ALPHA)
    d2lora.attach(model, case.method, config, [f"*.{name}" for name in TARGETS], seeds=[0])
    items = load_prepared(data.path)["train"]
    return (
        PlainEngine(model, 1, optim, torch.device("cpu")),
        LanePlan(task, items, seed=0, peak=RATE, steps=min(STEPS, case.steps)),
        optim,
    )


def _tuned_losses(prepared: Prepared, task: str, downs: dict[str, Any]) -> list[float]:
    """Return the tuned loop's losses from our start: PEFT's A is set to our ``down``; both ``up`` start at zero."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from benchmarks.sweep_arms.peers import adapter_config
    from benchmarks.sweep_arms.peers_tuned import answer_rows, train
    from orchestrator.data.batches import draw_batches

    case = prepared.case
    base = AutoModelForCausalLM.from_pretrained(prepared.base, dtype=torch.float32)
    model = get_peft_model(base, adapter_config(case.method))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_A" in name:
                value.copy_(downs[_our_name(name)])
    rows: list[Row] = prepared.rows(task, "train")
    tokens = answer_rows(rows, AutoTokenizer.from_pretrained(prepared.base))
    lengths = [len(ids) for ids, _ in tokens]
    batches = list(draw_batches(lengths, global_batch=case.batch, epochs=1, task=task, seed=0))
    return train(model, tokens, batches[: min(STEPS, case.steps)])


def _our_name(name: str) -> str:
    """Return our name of PEFT's ``base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight``."""
    return name.removeprefix("base_model.model.").partition(".lora_A.")[0] + ".down_0"


def _words(losses: list[float]) -> str:
    return " ".join(f"{loss:.5f}" for loss in losses)
