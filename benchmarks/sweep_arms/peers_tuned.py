"""The best PEFT loop that we can write: one base, swapped adapters, length buckets, logits of answers only.

    python -m benchmarks.sweep_arms.peers_tuned FOLDER OUT

The loop does all that our sweep does, except lanes. It uses our order of batches and our token batches, so both arms
train on the same rows in the same order. Forward, backward and optimizer are PEFT's and torch's.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.sweep_arms.case import RATE, Prepared, Row, read, text_of
from benchmarks.sweep_arms.peers import adapter_config, report, tokenise

Tokens = tuple[Sequence[int], int]  # the ids of prompt and answer, and where the answer starts


def answer_rows(rows: list[Row], tokenizer: Any) -> list[Tokens]:
    """Return each row's prompt and right answer in tokens, in the form that `batch_rows` takes."""
    return [(row["input_ids"], sum(label < 0 for label in row["labels"])) for row in tokenise(rows, tokenizer)]


def answer_losses(model: Any, rows: Sequence[Tokens]) -> tuple[Any, Any]:
    """Return the loss of each answer token, and the number of the row to which the token belongs.

    Rows are padded on the right, where causal attention does not look: without a mask, the fastest kernel runs.
    """
    from torch.nn.functional import cross_entropy

    from orchestrator.model.token_batch import batch_rows

    packed = batch_rows(rows)
    language_model = model.get_base_model()
    hidden = language_model.model(input_ids=packed.ids_BT, use_cache=False).last_hidden_state
    logits = language_model.lm_head(hidden.flatten(0, 1).index_select(0, packed.where_A))
    return cross_entropy(logits, packed.wanted_A, reduction="none"), packed.owner_A


def train(model: Any, rows: Sequence[Tokens], batches: Sequence[Sequence[int]]) -> list[float]:
    """Train the active adapter on these batches; return the loss of every step."""
    import torch

    from orchestrator.train.schedule import rate_at

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0, fused=True)
    model.train()
    losses = []
    for step, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = rate_at(step, len(batches), peak=RATE, warmup=0.0, schedule="cosine")
        loss = answer_losses(model, [rows[row] for row in batch])[0].mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def accuracy(model: Any, rows: list[Row], tokenizer: Any) -> float:
    """Return the share of questions whose most likely choice is right; all choices are one padded pass."""
    import torch

    answers: list[Tokens] = []
    for row in rows:
        prompt, choices = text_of(row)
        before, *wholes = tokenizer([prompt, *(prompt + choice for choice in choices)])["input_ids"]
        answers += [(whole, len(before)) for whole in wholes]
    model.eval()
    with torch.no_grad():
        losses, owners = answer_losses(model, answers)
    scores = iter(losses.new_zeros(len(answers)).index_add_(0, owners, -losses).tolist())
    right = 0
    for row in rows:
        each = [next(scores) for _ in row["choices"]]
        right += each.index(max(each)) == row["answer"]
    return right / len(rows)


def sweep(prepared: Prepared, out: Path) -> None:
    """Do all runs on one base: before each run, the adapter of the last run is replaced by a new adapter."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from orchestrator.data.batches import draw_batches

    case = prepared.case
    tokenizer = AutoTokenizer.from_pretrained(prepared.base)
    base = AutoModelForCausalLM.from_pretrained(prepared.base, dtype=torch.float32)
    model: Any = None
    for run in prepared.runs:
        torch.manual_seed(run.seed)
        name = f"{run.task}-{run.seed}"
        if model is None:
            model = get_peft_model(base, adapter_config(case.method), adapter_name=name)
        else:
            last = model.active_adapter
            model.add_adapter(name, adapter_config(case.method))
            model.set_adapter(name)
            model.delete_adapter(last)
        rows = answer_rows(prepared.rows(run.task, "train"), tokenizer)
        lengths = [len(ids) for ids, _ in rows]
        batches = list(draw_batches(lengths, global_batch=case.batch, epochs=1, task=run.task, seed=run.seed))
        losses = train(model, rows, batches)
        scores = {split: accuracy(model, prepared.rows(run.task, split), tokenizer) for split in ("validation", "test")}
        model.save_pretrained(out / name, selected_adapters=[name])
        report(out / name, len(losses), losses[-1], scores)


if __name__ == "__main__":
    sweep(read(Path(sys.argv[1])), Path(sys.argv[2]))
