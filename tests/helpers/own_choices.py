"""A file of your own with given choices, and its tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestrator.data.prepared import Prepared, prepare
from orchestrator.data.splits import split_examples
from orchestrator.data.tasks import make_task


def file_of(folder: Path, choices: list[tuple[str, ...]]) -> Path:
    rows = [{"question": f"q{n}", "choices": each, "answer": n % 2} for n, each in enumerate(choices)]
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def prepare_choices(
    folder: Path, tokenizer: Any, choices: list[tuple[str, ...]], skip: bool = False, **more: Any
) -> Prepared:
    splits = split_examples(make_task("mine", path=file_of(folder, choices)), skip_bad_rows=skip)
    return prepare(splits, tokenizer, **{"max_length": 64, "cache_dir": folder / "cache", **more})


GOOD = [(f"yes {n}", f"no {n}", f"river {n}") for n in range(60)]
