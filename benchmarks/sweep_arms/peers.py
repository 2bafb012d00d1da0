"""A sweep with PEFT and transformers' Trainer, as in their examples: runs in turn, or one process per run.

python -m benchmarks.sweep_arms.peers loop FOLDER OUT           # all runs in this process, one after another
python -m benchmarks.sweep_arms.peers one FOLDER OUT NUMBER     # one run
python -m benchmarks.sweep_arms.peers processes FOLDER OUT N    # a process per run, N at a time
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.sweep_arms.case import ALPHA, RANK, RATE, TARGETS, Prepared, Row, Run, read, text_of

IGNORED = -100  # the label of tokens that the loss leaves out


def tokenise(rows: list[Row], tokenizer: Any) -> list[dict[str, list[int]]]:
    """Return each row's prompt and right answer in tokens; only the answer's tokens have labels."""
    tokenised = []
    for row in rows:
        prompt, choices = text_of(row)
        before, whole = tokenizer([prompt, prompt + choices[row["answer"]]])["input_ids"]
        labels = [IGNORED] * len(before) + whole[len(before) :]
        tokenised.append({"input_ids": whole, "attention_mask": [1] * len(whole), "labels": labels})
    return tokenised


def adapter_config(method: str) -> Any:
    """Return PEFT's settings for the method."""
    from peft import LoraConfig

    return LoraConfig(
        r=RANK,
        lora_alpha=int(ALPHA),
        target_modules=list(TARGETS),
        lora_dropout=0.0,
        use_dora=method == "dora",
        task_type="CAUSAL_LM",
    )


def train_run(prepared: Prepared, run: Run, out: Path) -> None:
    """Do a whole run as the usual script does: load the base, add the adapter, train, score and save."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, set_seed
    from transformers.utils import logging

    logging.disable_progress_bar()
    set_seed(run.seed)
    place = out / f"{run.task}-{run.seed}"
    tokenizer = AutoTokenizer.from_pretrained(prepared.base)
    base = AutoModelForCausalLM.from_pretrained(prepared.base, dtype=torch.float32)
    model = get_peft_model(base, adapter_config(prepared.case.method))
    trainer = Trainer(
        model=model,
        args=_arguments(prepared, run, place),
        train_dataset=tokenise(prepared.rows(run.task, "train"), tokenizer),
        data_collator=_collator(tokenizer),
    )
    done = trainer.train()
    scores = {split: accuracy(model, prepared.rows(run.task, split), tokenizer) for split in ("validation", "test")}
    model.save_pretrained(place / "adapter")
    report(place, done.global_step, done.training_loss, scores)


def accuracy(model: Any, rows: list[Row], tokenizer: Any) -> float:
    """Return the share of questions whose most likely choice is right; each choice is one forward pass."""
    import torch

    model.eval()
    right = 0
    for row in rows:
        prompt, choices = text_of(row)
        start = len(tokenizer(prompt)["input_ids"])
        scores = []
        for choice in choices:
            ids = tokenizer(prompt + choice, return_tensors="pt")["input_ids"]
            with torch.no_grad():
                logs = model(input_ids=ids).logits[0, start - 1 : -1].log_softmax(-1)
            scores.append(float(logs.gather(1, ids[0, start:, None]).sum()))
        right += scores.index(max(scores)) == row["answer"]
    return right / len(rows)


def report(place: Path, steps: int, loss: float, scores: dict[str, float]) -> None:
    """Write a run's result, from which the bench checks that every arm did all steps."""
    (place / "result.json").write_text(json.dumps({"steps": steps, "loss": loss, **scores}))


def steps_done(out: Path) -> list[int]:
    """Return the steps of each run that has written a result."""
    return [json.loads(file.read_text())["steps"] for file in sorted(out.glob("*/result.json"))]


def _arguments(prepared: Prepared, run: Run, place: Path) -> Any:
    """Return the Trainer's arguments: defaults, except the settings that all arms share; no logs, no checkpoints."""
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(place),
        per_device_train_batch_size=prepared.case.batch,
        num_train_epochs=1,
        learning_rate=RATE,
        lr_scheduler_type="cosine",
        max_grad_norm=1.0,
        seed=run.seed,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def _collator(tokenizer: Any) -> Any:
    """Return the collator, which pads tokens and labels to the longest row of a batch."""
    from transformers import DataCollatorForSeq2Seq

    return DataCollatorForSeq2Seq(tokenizer, padding=True, label_pad_token_id=IGNORED)


def _processes(folder: Path, out: Path, at_once: int) -> None:
    """Run this script once per run, ``at_once`` processes at a time."""

    def start(number: int) -> None:
        subprocess.run(
            [sys.executable, "-m", "benchmarks.sweep_arms.peers", "one", str(folder), str(out), str(number)], check=True
        )

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(start, range(len(read(folder).runs))))


def main(form: str, folder: Path, out: Path, number: int) -> None:
    """Do the sweep, or one run of it, in the way that ``form`` names."""
    prepared = read(folder)
    if form == "processes":
        _processes(folder, out, number)
    else:
        for run in prepared.runs if form == "loop" else [prepared.runs[number]]:
            train_run(prepared, run, out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 0)
