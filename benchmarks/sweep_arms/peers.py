"""A sweep with PEFT and transformers' Trainer as their examples have it: runs in turn, or a process each.

python -m benchmarks.sweep_arms.peers loop FOLDER OUT           # all runs in this process, one after another
python -m benchmarks.sweep_arms.peers one FOLDER OUT NUMBER     # one run
python -m benchmarks.sweep_arms.peers processes FOLDER OUT N    # a process a run, N at a time
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.sweep_arms.case import ALPHA, RANK, RATE, TARGETS, Prepared, Row, Run, read, text_of

IGNORED = -100  # the label of a token that no loss is taken of


def tokenise(rows: list[Row], tokenizer: Any) -> list[dict[str, list[int]]]:
    """The rows with their right answers, labels on the answers alone."""
    found = []
    for row in rows:
        prompt, choices = text_of(row)
        before, whole = tokenizer([prompt, prompt + choices[row["answer"]]])["input_ids"]
        labels = [IGNORED] * len(before) + whole[len(before) :]
        found.append({"input_ids": whole, "attention_mask": [1] * len(whole), "labels": labels})
    return found


def adapter_config(method: str) -> Any:
    """PEFT's settings for the case's method."""
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
    """Load the base, wrap it, train, score and save: a whole run, as the usual script does it."""
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
    """The share of questions whose most likely choice is right: a forward pass a choice."""
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
    """Write what a run came to: the bench makes sure that everybody did the work."""
    (place / "result.json").write_text(json.dumps({"steps": steps, "loss": loss, **scores}))


def steps_done(out: Path) -> list[int]:
    """The steps of every run that has reported."""
    return [json.loads(file.read_text())["steps"] for file in sorted(out.glob("*/result.json"))]


def _arguments(prepared: Prepared, run: Run, place: Path) -> Any:
    """The defaults, but for what must be the same for all arms; nothing is logged and no checkpoint saved."""
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
    """Padding to the longest of a batch, labels too."""
    from transformers import DataCollatorForSeq2Seq

    return DataCollatorForSeq2Seq(tokenizer, padding=True, label_pad_token_id=IGNORED)


def _processes(folder: Path, out: Path, at_once: int) -> None:
    """Start the script for one run as often as there are runs."""

    def start(number: int) -> None:
        subprocess.run(
            [sys.executable, "-m", "benchmarks.sweep_arms.peers", "one", str(folder), str(out), str(number)], check=True
        )

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(start, range(len(read(folder).runs))))


def main(form: str, folder: Path, out: Path, number: int) -> None:
    """Do one form of the sweep."""
    prepared = read(folder)
    if form == "processes":
        _processes(folder, out, number)
    else:
        for run in prepared.runs if form == "loop" else [prepared.runs[number]]:
            train_run(prepared, run, out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 0)
