"""Files of your own with sums as questions, their splits, and tokenizers for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from orchestrator.data.splits import Splits, split_examples
from orchestrator.data.tasks import make_task

Row = dict[str, Any]


def sum_row(n: int) -> Row:
    return {"question": f"What is {n} and {n * 7 % 13}?", "choices": ["one", "two", "three or more"], "answer": n % 3}


def json_lines(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def splits_of(folder: Path, train: list[Row], test: list[Row], **settings: Any) -> Splits:
    task = make_task(
        "mine", path=json_lines(folder / "train.jsonl", train), test=json_lines(folder / "test.jsonl", test)
    )
    return split_examples(task, **settings)


def byte_pairs() -> Backend:
    corpus = [
        example for n in range(40) for example in (sum_row(n)["question"], "Question: Answer: one two three or more")
    ]
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<s>"], initial_alphabet=sorted(alphabet), show_progress=False
    )
    backend.train_from_iterator(corpus, trainer)
    return backend


class Characters:
    """A tokenizer of one token a character, except that a colon and the space after it are one token."""

    bos_token_id = eos_token_id = None

    def __call__(self, text: list[str], *, add_special_tokens: bool = True) -> Mapping[str, Any]:
        return {"input_ids": [[ord(char) for char in each.replace(": ", "\N{BULLET}")] for each in text]}
